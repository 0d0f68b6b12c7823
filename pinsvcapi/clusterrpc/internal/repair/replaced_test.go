package repair

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/replacement"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statewrite"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// replacedFixture is a peer of a cluster, of which pin 2 has replaced pin 1.
type replacedFixture struct {
	*Replaced
	t          testing.TB
	fake       *clusterfake.Services
	clock      *clusterfake.Clock
	syncer     *statesync.Syncer
	old, fresh api.Pin
}

func newReplacedFixture(t testing.TB, members ...peer.ID) replacedFixture {
	f := newReplacedPeer(t, clusterfake.New(), &clusterfake.Clock{}, members...)
	f.old = f.put(1)
	f.fresh = f.put(2, pinrecord.Replaced{Key: f.old.Cid.Cid, Revision: pinrecord.RevisionOf(f.old)})
	return f
}

// newReplacedPeer is a peer that has read nothing of the state.
func newReplacedPeer(t testing.TB, fake *clusterfake.Services, clock *clusterfake.Clock, members ...peer.ID) replacedFixture {
	f := replacedFixture{t: t, fake: fake, clock: clock}
	view, tasks := pinset.NewLoading(), taskgroup.New()
	t.Cleanup(tasks.Close)
	view.FinishLoad()
	tracker := peerstatus.NewTracker(peerstatus.Config{
		View: view, Now: f.clock.Now, Clock: pinrecord.NewClock(f.clock.Now), MaxAttempts: 1, RetryDelay: retryDelay,
	})
	tracker.SetMembers(append(members, clusterfake.Self()))
	client := clusterapi.New(f.fake.Client(t))
	index := replacement.New(replacement.Config{Tracker: tracker, View: view, Now: f.clock.Now, OnLost: NewMetadata().Lost})
	f.syncer = statesync.New(statesync.Config{
		Reader: client, Sink: index, Now: f.clock.Now, CommitTime: time.Minute, StateTimeout: 10 * time.Second, ResyncInterval: time.Hour,
	})
	f.Replaced = NewReplaced(ReplacedConfig{
		Index: index, Tracker: tracker, Syncer: f.syncer,
		Writer: statewrite.New(statewrite.Config{
			Submitter: client, Syncer: f.syncer, Now: f.clock.Now, Timeout: 30 * time.Second, Consensus: func() error { return nil },
		}),
		Poller: poll.New(poll.Config{
			Client: client, Tracker: tracker, View: view, Self: clusterfake.Self(), Now: f.clock.Now, Tasks: tasks,
			StatusTimeout: 2 * time.Second, ActiveInterval: time.Second, ActiveTimeout: 10 * time.Second, ScanInterval: time.Hour, MaxAttempts: 1,
		}),
		Self: clusterfake.Self(), Now: f.clock.Now,
	})
	return f
}

// put is a record of a pin that all members should hold, in the state and read from there.
func (f replacedFixture) put(n int, replaces ...pinrecord.Replaced) api.Pin {
	f.t.Helper()
	rec := pinrecord.WithRequest(pinrecord.New(pinsvctest.RawCID(n)), pinsvc.Pin{CID: pinsvctest.RawCID(n)})
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = -1, -1
	rec.Timestamp = f.clock.Now().Add(-time.Hour).Truncate(time.Second)
	pinrecord.Stamp(rec, rec.Timestamp.Add(time.Duration(n)*time.Millisecond))
	pinrecord.SetReplaced(rec, replaces)
	f.fake.Put(rec)
	f.read(rec.Cid)
	return rec
}

func (f replacedFixture) read(key api.Cid) {
	f.t.Helper()
	if _, _, err := f.syncer.Get(f.t.Context(), key); err != nil {
		f.t.Fatal(err)
	}
}

// report sets what the peers report of the new pin and has this one poll it.
func (f replacedFixture) report(status api.TrackerStatus) {
	f.fake.Report(f.fresh.Cid.Cid, clusterfake.Report(status, ""))
	f.cfg.Poller.Record(f.t.Context(), f.fresh)
}

func (f replacedFixture) step(d time.Duration) {
	f.clock.Advance(d)
	f.UnpinDue(f.t.Context())
}

// unpinned reports whether the record of the old pin is gone.
func (f replacedFixture) unpinned() bool {
	_, found := f.fake.Record(f.old.Cid.Cid)
	return !found
}

func TestReplaced_IsUnpinnedOnceTheNewPinIsPinned(t *testing.T) {
	f := newReplacedFixture(t)
	f.report(api.TrackerStatusPinning)
	f.step(time.Hour)
	if f.unpinned() {
		t.Fatal("it is unpinned before the new pin is pinned")
	}
	f.report(api.TrackerStatusPinned)
	f.step(time.Second)
	if !f.unpinned() || f.Unpinned() != 1 {
		t.Errorf("unpinned: %t, counted %d", f.unpinned(), f.Unpinned())
	}
	f.step(time.Hour)
	if got := f.fake.Called("Cluster.Unpin"); got != 1 {
		t.Errorf("%d removals", got)
	}
}

// A peer that was frozen during a look did not look again for twenty times as long: pins that were renamed
// and replaced showed again, and replaced ones were not unpinned.
func TestReplaced_AFreezeIsFollowedByALook(t *testing.T) {
	f := newReplacedFixture(t)
	f.report(api.TrackerStatusPinning)
	calls := 0
	f.cfg.Now = func() time.Time {
		if calls++; calls == 3 { // After the begin of the look.
			f.clock.Advance(17 * time.Second)
		}
		return f.clock.Now()
	}
	f.UnpinDue(t.Context())
	if calls < 3 {
		t.Fatalf("the clock was read %d times", calls)
	}
	f.report(api.TrackerStatusPinned)
	f.step(maxIdle)
	if !f.unpinned() {
		t.Error("the replaced pin is pinned still")
	}
}

// What the view says is asked once more before anything is unpinned.
func TestReplaced_StaysWhenNobodyConfirmsTheNewPinNow(t *testing.T) {
	f := newReplacedFixture(t)
	f.report(api.TrackerStatusPinned)
	for _, status := range []api.TrackerStatus{api.TrackerStatusUnexpectedlyUnpinned, api.TrackerStatusClusterError} {
		f.fake.Report(f.fresh.Cid.Cid, clusterfake.Report(status, ""))
		f.step(time.Minute)
		if f.unpinned() {
			t.Fatalf("it is unpinned although the peers report %s", status)
		}
	}
	f.report(api.TrackerStatusPinned)
	f.step(time.Minute)
	if !f.unpinned() {
		t.Error("it is not unpinned after all")
	}
}

// Another peer has accepted the old pin again, and this one has not heard of it.
func TestReplaced_StaysWhenItIsRequestedAgain(t *testing.T) {
	f := newReplacedFixture(t)
	f.report(api.TrackerStatusPinned)
	again := f.old
	again.Metadata = maps.Clone(f.old.Metadata)
	pinrecord.Revise(again, f.clock.Now())
	f.fake.Put(again)
	f.step(time.Minute)
	if f.unpinned() {
		t.Error("it is unpinned")
	}
}

// The peer that is closest to a pin unpins it; the others follow when it does not.
func TestReplaced_IsUnpinnedByOnePeerFirst(t *testing.T) {
	f := newReplacedFixture(t, clusterfake.Other())
	rank := Rank(f.old.Cid.Cid, clusterfake.Self(), f.cfg.Tracker.Members(), f.cfg.Poller.Breaker().Open)
	f.report(api.TrackerStatusPinned)
	f.step(0)
	if f.unpinned() != (rank == 0) {
		t.Errorf("unpinned at once: %t, rank %d", f.unpinned(), rank)
	}
	f.step(maxReplacedDelay + replacedRetry)
	if !f.unpinned() {
		t.Error("it is not unpinned")
	}
	many := make([]peer.ID, 40)
	for i := range many {
		many[i] = peer.ID(rune('a' + i))
	}
	f.cfg.Tracker.SetMembers(append(many, clusterfake.Self()))
	for n := range 20 {
		if delay := f.delay(pinsvctest.RawCID(n)); delay > maxReplacedDelay {
			t.Errorf("left to others for %s", delay)
		}
	}
}

// The peer that is closest to some pins is there and never unpins: it is in follower mode, or of
// ipfs-cluster-service. The others do it after their time, also when these pins are many.
func TestReplaced_ManyAreUnpinnedByTheNextPeer(t *testing.T) {
	const pins = 5 * maxReplacedTries
	f := newReplacedFixture(t, clusterfake.Other())
	others := 0
	for n := range pins {
		old := f.put(1000 + 2*n)
		fresh := f.put(1001+2*n, pinrecord.Replaced{Key: old.Cid.Cid, Revision: pinrecord.RevisionOf(old)})
		f.fake.Report(fresh.Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
		f.cfg.Poller.Record(f.t.Context(), fresh)
		if f.delay(old.Cid.Cid) > 0 {
			others++
		}
	}
	if others <= maxReplacedTries {
		t.Fatalf("%d are closer to the other peer", others)
	}
	for range int(time.Minute / time.Second) {
		f.step(time.Second)
	}
	if n := f.Unpinned(); n < pins {
		t.Errorf("after a minute %d of %d are unpinned, %d are closer to the other peer", n, pins, others)
	}
}

// Between two looks a pin may cease to be replaced: then no pin could confirm that it is not needed,
// whatever comes to replace it while its lock is waited for.
func TestReplaced_StaysWhenNothingReplacesIt(t *testing.T) {
	f := newReplacedFixture(t)
	pin := pinrecord.Replaced{Key: f.old.Cid.Cid, Revision: pinrecord.RevisionOf(f.old)}
	f.cfg.Index.DeleteRecord(f.fresh.Cid.Cid)
	if by := f.cfg.Index.Replacing(pin); len(by) != 0 {
		t.Fatalf("replaced by %v", by)
	}
	unlock, err := f.cfg.Writer.Lock(t.Context(), pin.Key)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := f.unpin(ctx, pin); err != nil {
		t.Errorf("it waits to unpin the pin: %v", err)
	}
}

// Another tool removes the new pin, and its CID is pinned anew: that is no replacement.
func TestReplaced_StaysWhenTheNewPinIsMadeAnew(t *testing.T) {
	f := newReplacedFixture(t)
	f.report(api.TrackerStatusPinning)
	f.step(time.Second)
	f.fake.Remove(f.fresh)
	f.read(f.fresh.Cid)
	f.step(2 * time.Second)
	f.fresh = f.put(2) // It names nothing.
	f.report(api.TrackerStatusPinned)
	for _, d := range []time.Duration{time.Second, time.Minute} {
		if f.step(d); f.unpinned() {
			t.Fatal("the old content is unpinned")
		}
	}
}
