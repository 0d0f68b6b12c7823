package clusterrpc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// This file has what a write costs others: questions to peers, and reads of the shared state.

// No peer answers anything; a write of a pin in any status does not notice.
func TestWrites_AskNobody(t *testing.T) {
	fake := clusterfake.New()
	other := peer.ID("another")
	fake.Members, fake.Allocation = append(fake.Members, other), append(fake.Allocation, other)
	held, inFlight := fake.Held(pinsvctest.RawCID(1)).Cid.Cid, fake.InFlight(pinsvctest.RawCID(2)).Cid.Cid
	b := ready(t, fake, clusterrpc.Options{WaitsForCommit: true, StatusTimeout: time.Hour})
	b.add(pinsvc.Pin{CID: pinsvctest.RawCID(9)}) // The first goes by the cluster's own Pin.
	await.True(t, "the addresses are known", func() bool { return fake.Called("Cluster.ID") >= 2 })
	for _, method := range []string{"PinTracker.Status", "PinTracker.StatusAll", "Cluster.ID"} {
		t.Cleanup(fake.Hang(method))
	}
	within := func(what string, write func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := write(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	add := func(what string, c cid.Cid) {
		t.Helper()
		within(what, func(ctx context.Context) error {
			_, err := b.Add(ctx, "", pinsvc.Pin{CID: c, Name: what})
			return err
		})
	}
	replace := func(what string, old, by cid.Cid) {
		t.Helper()
		within(what, func(ctx context.Context) error {
			_, err := b.Replace(ctx, "", old.String(), pinsvc.Pin{CID: by, Name: what})
			return err
		})
	}
	fresh := pinsvctest.RawCID(3)
	add("a new pin", fresh)
	add("a queued pin again", fresh)
	add("a pinned pin again", held)
	add("a pin in flight again", inFlight)
	replace("a rename of a pin in flight", inFlight, inFlight)
	replace("a rename of a pinned pin", held, held)
	replace("other content", held, pinsvctest.RawCID(4))
	replace("content that is being pinned", fresh, inFlight)
	within("a delete", func(ctx context.Context) error { return b.Delete(ctx, "", inFlight.String()) })
	fake.Fail("Cluster.BlockAllocate", errors.New("not enough peers to allocate CID. Needed at least: 2. Wanted at most: 2"))
	within("a pin that nobody can hold", func(ctx context.Context) error {
		_, err := b.Add(ctx, "", pinsvc.Pin{CID: pinsvctest.RawCID(5)})
		wantKind(t, "Add", err, pinsvc.KindUnavailable)
		return ctx.Err()
	})
}

// A write reads the record of its pin once, and a replace with other content those of both pins.
func TestWrites_ReadEachRecordOnce(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{WaitsForCommit: true})
	b.add(pinsvc.Pin{CID: pinsvctest.RawCID(9)})
	reads := func(what string, want map[cid.Cid]int, write func() error) {
		t.Helper()
		b.fake.ResetCalls()
		if err := write(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for c, n := range want {
			if got := b.fake.Called("Cluster.PinGet of " + c.String()); got != n {
				t.Errorf("%s: the record of %s is read %d times, want %d", what, c, got, n)
			}
		}
	}
	add := func(c cid.Cid, name string) func() error {
		return func() error {
			_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: c, Name: name})
			return err
		}
	}
	replace := func(old, by cid.Cid) func() error {
		return func() error {
			_, err := b.Replace(t.Context(), "", old.String(), pinsvc.Pin{CID: by, Name: "replaced"})
			return err
		}
	}
	gone := func(c cid.Cid) {
		t.Helper()
		if _, ok := b.View().Get(c); ok {
			t.Errorf("%s is shown", c)
		}
	}
	one, two, three, four := pinsvctest.RawCID(1), pinsvctest.RawCID(2), pinsvctest.RawCID(3), pinsvctest.RawCID(4)
	reads("a new pin", map[cid.Cid]int{one: 1}, add(one, "a"))
	reads("a rename by POST", map[cid.Cid]int{one: 1}, add(one, "b"))
	reads("a rename by replace", map[cid.Cid]int{one: 1}, replace(one, one))
	reads("other content for a renamed pin", map[cid.Cid]int{one: 1, two: 1}, replace(one, two))
	gone(one)
	// Its other form is looked for in the view, although there is a hidden pin.
	v1, v0 := pinsvctest.V1CID(1), pinsvctest.V0CID(1)
	reads("a new pin with two forms", map[cid.Cid]int{v1: 1, v0: 0}, add(v0, "a"))
	reads("the second", map[cid.Cid]int{three: 1}, add(three, "a"))
	reads("other content", map[cid.Cid]int{three: 1, four: 1}, replace(three, four))
	gone(three)
	reads("a delete, and of what it keeps", map[cid.Cid]int{four: 0, three: 1}, func() error {
		return b.Delete(t.Context(), "", four.String())
	})
	if n := b.fake.Len(); n != 4 { // 9, two and what it keeps, v1
		t.Errorf("%d records", n)
	}
}
