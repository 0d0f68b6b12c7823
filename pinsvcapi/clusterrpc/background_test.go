package clusterrpc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/repair"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestBackground_APeerTriesAsOftenAsItMay(t *testing.T) {
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	s := service{newBackend(t, p, impatient(clusterrpc.Options{MaxPinAttempts: 3})), t, p}
	c := pinsvctest.RawCID(1)
	p.Node.Fail(c, errors.New("merkledag: malformed"))
	st := s.add(pinsvc.Pin{CID: c})
	s.becomes(st.RequestID, pinsvc.StatusFailed)
	got := s.get(st.RequestID)
	if n := p.Node.PinCalls(); n != 3 || got.Info["attempts"] != "3" || got.Info["status_details"] != "merkledag: malformed, attempt 3 of 3" {
		t.Errorf("after %d tries: %v", n, got.Info)
	}
	// What the cluster does by itself does not make it begin again.
	if _, err := p.Cluster.RecoverLocal(t.Context(), api.NewCid(c)); err != nil {
		t.Fatal(err)
	}
	await.Success(t, "it was tried once more", func() error {
		if n := p.Node.PinCalls(); n != 4 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	s.becomes(st.RequestID, pinsvc.StatusFailed)
	p.Node.Succeed(c)
	if got := s.add(pinsvc.Pin{CID: c}); got.Status == pinsvc.StatusFailed {
		t.Error("a re-add does not begin anew")
	}
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	if got := s.get(st.RequestID); got.Info["attempts"] != "" || got.Info["status_details"] != "" {
		t.Errorf("info %v", got.Info)
	}
}

func TestBackground_ContentThatIPFSLostIsFoundMissingAndFetchedAgain(t *testing.T) {
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	// Records are not judged while they are new; by this clock none is.
	ahead := func() time.Time { return time.Now().Add(time.Minute) }
	s := service{newBackend(t, p, impatient(clusterrpc.Options{ScanInterval: 50 * time.Millisecond, Now: ahead})), t, p}
	c := pinsvctest.RawCID(1)
	st := s.add(pinsvc.Pin{CID: c})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	p.Node.Hold(c)
	p.Node.Lose(c)
	await.Success(t, "a list says so", func() error {
		page := s.list(pinsvc.Query{})
		if got := page.Results[0]; got.Status != pinsvc.StatusPinning || !strings.Contains(got.Info["status_details"], "lost") {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	trackerReports(t, p, c, api.TrackerStatusPinning)
	p.Node.Succeed(c)
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	if !p.Node.Has(c) {
		t.Error("pinned, but the node does not have it")
	}
}

func TestBackground_APeerWithoutIPFSKeepsWhatItHoldsAndGoesOnLater(t *testing.T) {
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	s := service{newBackend(t, p, impatient(clusterrpc.Options{})), t, p}
	held := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(held.RequestID, pinsvc.StatusPinned)
	p.Node.SetUnavailable(true)
	fresh := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	renamed := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "renamed"})
	if renamed.Status != pinsvc.StatusPinned {
		t.Errorf("renamed it is %s", renamed.Status)
	}
	await.Success(t, "the new one waits and says why", func() error {
		got := s.get(fresh.RequestID)
		if got.Status != pinsvc.StatusQueued || !strings.Contains(got.Info["status_details"], "waiting for the IPFS node") {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	if got := s.get(held.RequestID); got.Status != pinsvc.StatusPinned {
		t.Errorf("what it holds is %s", got.Status)
	}
	p.Node.SetUnavailable(false)
	s.becomes(fresh.RequestID, pinsvc.StatusPinned)
	s.becomes(held.RequestID, pinsvc.StatusPinned)
}

func TestBackground_LostContentIsFoundByScansAndFetchedAgain(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{})
	b.becomes(pinned)
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusUnexpectedlyUnpinned, "the item should be pinned but it is not"))
	if err := b.Poller().Scan(t.Context(), clusterfake.Self()); err != nil {
		t.Fatal(err)
	}
	if st := b.becomes(pinning); !strings.Contains(st.Info[clusterrpc.InfoDetails], "lost the content") {
		t.Errorf("info %v", st.Info)
	}
	await.True(t, "retried", func() bool { return fake.Called("PinTracker.Recover of "+rec.Cid.String()) == 1 })
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	if st := b.becomes(pinned); st.Info[clusterrpc.InfoDetails] != "" {
		t.Errorf("info %v", st.Info)
	}
}

func TestBackground_FailedPinsAreRetriedAndThenFailed(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	attempt := func(n int) {
		info := clusterfake.Report(api.TrackerStatusPinError, "merkledag: not found")
		info.AttemptCount = n
		fake.Report(rec.Cid.Cid, info)
	}
	attempt(1)
	b := ready(t, fake, clusterrpc.Options{MaxPinAttempts: 3})
	retries := func() int { return fake.Called("PinTracker.Recover of " + rec.Cid.String()) }
	for n := 1; n <= 2; n++ {
		st := b.becomes(pinning)
		if want := fmt.Sprintf("merkledag: not found, attempt %d of 3", n); !strings.Contains(st.Info[clusterrpc.InfoDetails], want) {
			t.Errorf("info %v, want %q", st.Info, want)
		}
		if got := retries(); got != n-1 {
			t.Errorf("retried %d times before its time", got)
		}
		b.clock.Advance(time.Minute)
		await.True(t, "retried", func() bool { return retries() == n })
		attempt(n + 1)
	}
	st := b.becomes(failed)
	if st.Info[clusterrpc.InfoDetails] != "merkledag: not found, attempt 3 of 3" || st.Info[clusterrpc.InfoAttempts] != "3" {
		t.Errorf("info %v", st.Info)
	}
	b.clock.Advance(time.Hour)
	// The cluster's own rounds put it into the queue; that changes nothing.
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinQueued, ""))
	if st := b.get(rec.Cid.Cid); st.Status != failed {
		t.Errorf("%s", st.Status)
	}
	if got := retries(); got != 2 {
		t.Errorf("retried %d times", got)
	}
	if st := b.add(pinsvc.Pin{CID: rec.Cid.Cid}); st.Status != queued {
		t.Errorf("added again it is %s", st.Status)
	}
	attempt(4)
	b.becomes(pinning)
}

func TestBackground_PinsWaitForTheIPFSNodeAndGoOnWhenItIsBack(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinError, "IPFS request failed (is it running?): dial tcp 127.0.0.1:5001: connect: connection refused"))
	b := ready(t, fake, clusterrpc.Options{})
	if st := b.becomes(queued); st.Info[clusterrpc.InfoDetails] != "waiting for the IPFS node of a peer: it is unavailable" {
		t.Errorf("info %v", st.Info)
	}
	node := fake.ID.IPFS
	fake.Set(func() { fake.ID.IPFS = api.IPFSID{Error: "connection refused"} })
	probes := fake.Called("Cluster.ID")
	b.clock.Advance(time.Minute)
	await.True(t, "probed", func() bool { return fake.Called("Cluster.ID") > probes })
	if n := fake.Called("PinTracker.Recover"); n != 0 {
		t.Errorf("retried %d times without the node", n)
	}
	fake.Set(func() { fake.ID.IPFS = node })
	await.True(t, "retried", func() bool {
		b.clock.Advance(time.Second)
		return fake.Called("PinTracker.Recover") > 0
	})
}

// C21: retries at peers that hang do not hold up lost metadata.
func TestBackground_HangingRetriesHoldUpNothing(t *testing.T) {
	fake := clusterfake.New()
	for n := range 100 {
		rec := fake.Held(pinsvctest.RawCID(100 + n))
		fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusUnexpectedlyUnpinned, "gone"))
	}
	b := ready(t, fake, clusterrpc.Options{BatchAge: time.Minute, StatusTimeout: time.Hour})
	wiped := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	defer fake.Hang("PinTracker.Recover")()
	b.clock.Advance(time.Second)
	await.True(t, "retries hang", func() bool { return fake.Called("PinTracker.Recover") > 0 })

	rec, _ := fake.Record(pinsvctest.RawCID(1))
	rec.Metadata, rec.Timestamp = nil, rec.Timestamp.Add(time.Second)
	b.changed(rec)
	await.True(t, "they are written back", func() bool {
		b.clock.Advance(time.Second)
		rec, _ := fake.Record(pinsvctest.RawCID(1))
		created, ours := pinrecord.CreatedOf(rec)
		return ours && created.Equal(wiped.Created)
	})
}

// Another tool that changes a pin replaces its metadata whole.
func TestBackground_MetadataThatAnotherToolRemovedAreWrittenBack(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	b.add(pinsvc.Pin{CID: pinsvctest.V1CID(1), Name: "mine"})
	st := b.add(pinsvc.Pin{CID: pinsvctest.V0CID(1), Name: "mine"})
	key := pinsvctest.V1CID(1)
	rec, _ := b.fake.Record(key)
	rec.Name, rec.Metadata = "theirs", map[string]string{"tool": "ctl"}
	rec.Timestamp = rec.Timestamp.Add(time.Minute)
	b.changed(rec)
	check := func(when string) {
		t.Helper()
		for _, got := range []pinsvc.PinStatus{b.get(key), b.list(everything(1)).Results[0]} {
			if !got.Created.Equal(st.Created) || got.Pin.Name != "theirs" || got.Pin.Meta["tool"] != "ctl" ||
				!got.Pin.CID.Equals(pinsvctest.V0CID(1)) || got.RequestID != key.String() {
				t.Errorf("%s: %+v", when, got)
			}
		}
	}
	await.True(t, "changed", func() bool {
		row, _ := b.View().Get(key)
		return row.Name == "theirs"
	})
	check("before it is written back")
	b.clock.Advance(2 * repair.MetadataDelay)
	await.True(t, "written back", func() bool {
		rec, _ := b.fake.Record(key)
		created, ours := pinrecord.CreatedOf(rec)
		return ours && created.Equal(st.Created)
	})
	check("after it was written back")
	if rec, _ := b.fake.Record(key); rec.Metadata["tool"] != "ctl" || !pinrecord.RequestedCID(rec).Equals(pinsvctest.V0CID(1)) {
		t.Errorf("the record is %+v", rec)
	}
}

// A pin that expires is deleted and added anew, for good, before either is committed.
func TestBackground_AnAddAfterADeleteInheritsNothing(t *testing.T) {
	fake := clusterfake.New()
	c := pinsvctest.RawCID(3)
	old := fake.Held(c)
	old.ExpireAt = time.Unix(1_800_000_000, 0).Add(24 * time.Hour)
	fake.Put(old)
	b := ready(t, fake, clusterrpc.Options{BatchAge: time.Hour})
	fake.Set(func() { fake.Batching = true })
	if err := b.Delete(t.Context(), "", c.String()); err != nil {
		t.Fatal(err)
	}
	st := b.add(pinsvc.Pin{CID: c, Name: "for good"})
	if st.Info["pinned_until"] != "" {
		t.Fatal(st.Info)
	}
	fake.Commit()
	await.True(t, "committed", func() bool { b.clock.Advance(time.Second); return !b.pending(c) })
	rec, ok := fake.Record(c)
	if !ok || !rec.ExpireAt.IsZero() {
		t.Errorf("found %t, name %q: it expires at %v", ok, rec.Name, rec.ExpireAt)
	}
}
