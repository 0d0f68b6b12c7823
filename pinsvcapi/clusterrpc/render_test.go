package clusterrpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestRender_QueuedPinsSayWhereTheyAre(t *testing.T) {
	fake := clusterfake.New()
	var last api.Pin
	for n := range 3 {
		last = fake.Held(pinsvctest.RawCID(n))
		info := clusterfake.Report(api.TrackerStatusPinQueued, "")
		info.TS = time.Unix(1_800_000_000+int64(n), 0)
		fake.Report(last.Cid.Cid, info)
	}
	b := ready(t, fake, clusterrpc.Options{})
	await.True(t, "known", func() bool {
		b.Poller().Active(t.Context())
		return b.get(last.Cid.Cid).Info[clusterrpc.InfoDetails] == "position 3 of 3 in this peer's pin queue"
	})
}

func TestRender_ThePinsExpiry(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	rec.ExpireAt = time.Now().Add(time.Hour).Truncate(time.Second)
	fake.Put(rec)
	b := ready(t, fake, clusterrpc.Options{})
	want := rec.ExpireAt.UTC().Format(time.RFC3339)
	if st := b.becomes(pinned); st.Info[clusterrpc.InfoUntil] != want {
		t.Errorf("listed with %v", st.Info)
	}
	if st := b.get(rec.Cid.Cid); st.Info[clusterrpc.InfoUntil] != want {
		t.Errorf("info %v", st.Info)
	}
}

func TestRender_APinHasDelegatesAlthoughItsHoldersNeverReportedOne(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{StatusTimeout: 20 * time.Millisecond})
	fake.Fail("Cluster.ID", errBroken)
	rec.Allocations = []peer.ID{"never reported an address"}
	fake.Put(rec)
	if st := b.get(rec.Cid.Cid); len(st.Delegates) == 0 {
		t.Error("no delegates")
	}
	if page := b.list(everything(10)); len(page.Results) != 1 || len(page.Results[0].Delegates) == 0 {
		t.Errorf("%+v", page)
	}
}

// A frozen peer costs a request one wait, also when its addresses were never known.
func TestRender_NobodyWaitsForTheAddressesOfAFrozenPeer(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	rec.Allocations = []peer.ID{clusterfake.Other()}
	b := ready(t, fake, clusterrpc.Options{StatusTimeout: time.Minute, ActivePollInterval: time.Hour, ScanInterval: time.Hour})
	b.Poller().Breaker().Failure(clusterfake.Other())
	defer fake.Hang("Cluster.ID")()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if list := b.DelegatesOf(ctx, rec); ctx.Err() != nil || len(list) == 0 {
		t.Errorf("delegates %q, %v", list, ctx.Err())
	}
}
