package poll

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
)

// halfPinned enters a pin that one of its two holders has confirmed, which is enough.
func (f fixture) halfPinned(n int, other api.TrackerStatus) {
	rec := f.pin(n, other, self, clusterfake.Other())
	rec.ReplicationFactorMin = 1
	f.cfg.Tracker.PutRecord(rec, false)
	f.cfg.Tracker.Observe(self, key(n), peerstatus.ReportOf(clusterfake.Report(api.TrackerStatusPinned, "")))
	f.want(n, pinned)
}

func (f fixture) replicaCount(n int) int {
	row := f.row(n)
	return f.cfg.Tracker.Summary(row.Placement, row.Vector).Pinned
}

// advance lets seconds pass, each with a round of polls.
func (f fixture) advance(r *replicaPolls, seconds int, before ...func()) {
	for range seconds {
		f.clock.Advance(time.Second)
		for _, do := range before {
			do()
		}
		f.pollReplicas(f.t.Context(), r)
	}
}

func TestFollowReplicas_TheOtherHoldersArePolled(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.FollowReplicas(ctx)
	}()
	// A change that comes before the first read of the journal is not followed.
	await.True(t, "complete", func() bool {
		f.cfg.Tracker.DeleteRecord(key(1))
		f.halfPinned(1, api.TrackerStatusPinned)
		deadline := time.Now().Add(5 * time.Second)
		for time.Now().Before(deadline) && f.replicaCount(1) < 2 {
			f.clock.Advance(time.Second)
			<-time.After(time.Millisecond)
		}
		return f.replicaCount(1) == 2
	})
	cancel()
	<-done
}

// Two minutes were not enough: such a pin kept its low number until the next scan.
func TestFollowReplicas_PollsGoOnEverMoreRarely(t *testing.T) {
	f := newFixture(t)
	r := newReplicaPolls()
	seq := f.cfg.View.Seq()
	f.halfPinned(1, api.TrackerStatusPinQueued)
	f.halfPinned(2, api.TrackerStatusPinned)
	f.readChanges(r, seq)
	if len(r.pins) != 2 {
		t.Fatalf("%d pins are followed", len(r.pins))
	}
	f.advance(r, 2*3600)
	if n := f.fake.Called("PinTracker.Status"); n < 120 || n > 160 || len(r.pins) != 1 {
		t.Errorf("%d polls in two hours, %d pins are still followed", n, len(r.pins))
	}
	if f.replicaCount(1) != 1 || f.replicaCount(2) != 2 {
		t.Errorf("replicas %d and %d", f.replicaCount(1), f.replicaCount(2))
	}
	f.fake.Report(key(1), clusterfake.Report(api.TrackerStatusPinned, ""))
	for range 2 {
		f.clock.Advance(replicaDelays.Max)
		f.pollReplicas(t.Context(), r)
	}
	if f.replicaCount(1) != 2 || len(r.pins) != 0 {
		t.Errorf("replicas %d in the end, %d pins are still followed", f.replicaCount(1), len(r.pins))
	}
}

// A holder that catches up is asked soon, although the pin is incomplete for long: it has taken its time already,
// and is to be counted within half a minute after it was away. Twenty seconds between two polls were too many.
func TestFollowReplicas_AHolderThatCatchesUpIsCountedSoon(t *testing.T) {
	f := newFixture(t)
	r := newReplicaPolls()
	seq := f.cfg.View.Seq()
	f.halfPinned(1, api.TrackerStatusUnpinned)
	f.readChanges(r, seq)
	beginAgain := func() { r.beginAgain(f.cfg.Now()) }
	f.advance(r, 300, beginAgain)
	f.fake.Report(key(1), clusterfake.Report(api.TrackerStatusPinned, ""))
	if f.advance(r, 6, beginAgain); f.replicaCount(1) != 2 {
		t.Error("the holder has had it for six seconds and does not count")
	}
}

// The holders of many pins are scanned: to poll for each of a thousand took twenty seconds and more.
func TestFollowReplicas_OfManyPinsTheHoldersAreScanned(t *testing.T) {
	const pins = 1000
	f := newFixture(t)
	r := newReplicaPolls()
	seq := f.cfg.View.Seq()
	if err := f.Scan(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for i := range pins {
		f.halfPinned(i, api.TrackerStatusUnpinned)
	}
	f.readChanges(r, seq)
	f.advance(r, 300, f.scanRequested)
	for i := range pins {
		f.report(i, api.TrackerStatusPinned)
	}
	f.advance(r, 6, f.scanRequested)
	f.scanRequested()
	for i := range pins {
		if f.replicaCount(i) != 2 {
			t.Fatalf("the holder has had pin %d for six seconds and does not count", i)
		}
	}
	if n := f.fake.Called("PinTracker.Status"); n != 0 {
		t.Errorf("%d polls for single pins", n)
	}
}

// All members poll the peer that lacks pins. What it has to answer does not grow with their number.
func TestFollowReplicas_InALargeClusterEachPeerPollsMoreRarely(t *testing.T) {
	const pins, seconds = 300, 200
	polls := func(members int) (n int) {
		f := newFixture(t)
		all := []peer.ID{self, other}
		for i := len(all); i < members; i++ {
			all = append(all, peer.ID(fmt.Sprint("member ", i)))
		}
		f.cfg.Tracker.SetMembers(all)
		r := newReplicaPolls()
		seq := f.cfg.View.Seq()
		for i := range pins {
			f.halfPinned(i, api.TrackerStatusUnpinned)
		}
		f.readChanges(r, seq)
		f.advance(r, 120)
		f.fake.ResetCalls()
		f.advance(r, seconds)
		return f.fake.Called("PinTracker.Status")
	}
	perSecond := int(time.Second / soonPace)
	for members, want := range map[int]int{2: seconds * perSecond, 30: seconds * perSecond / 3, 100: seconds * perSecond / 10} {
		if n := polls(members); n < want/2 || n > 2*want {
			t.Errorf("of %d members each polls %d times in %d s, want about %d", members, n, seconds, want)
		}
	}
}

// scanRequested does what RunScans does with scans that were requested.
func (f fixture) scanRequested() {
	f.t.Helper()
	for _, id := range f.cfg.Tracker.Members() {
		if _, requested := f.scans.requested[id]; requested && f.scans.begin(id, f.cfg.ScanInterval) {
			f.scanIfUp(f.t.Context(), id)
			f.scans.end(id)
		}
	}
}

// Pins that have been incomplete for an hour are asked about at once when a peer responds again.
func TestFollowReplicas_OldPinsAreNewWhenAPeerComesBack(t *testing.T) {
	f := newFixture(t)
	r := newReplicaPolls()
	seq := f.cfg.View.Seq()
	f.halfPinned(1, api.TrackerStatusUnpinned)
	f.readChanges(r, seq)
	f.advance(r, 3600)
	f.fake.Report(key(1), clusterfake.Report(api.TrackerStatusPinned, ""))
	r.recovered()
	r.beginAgain(f.cfg.Now())
	if f.pollReplicas(t.Context(), r); f.replicaCount(1) != 2 {
		t.Error("the holder has it and does not count")
	}
}

// follow reads what has changed since and lets a minute pass.
func (f fixture) follow(r *replicaPolls, seq uint64) {
	f.readChanges(r, seq)
	f.advance(r, 60, func() {
		r.beginAgain(f.cfg.Now())
		f.findIncomplete(r)
	})
}

// Pins that are pinned, and stay so, get holders that were not asked yet: another one in the place of a peer that is
// gone, a new member where pins are held everywhere, and one that had not caught up when it was scanned. Until
// somebody read each pin, or the next scan, lists showed too few replicas.
func TestFollowReplicas_OtherHoldersOfPinnedPins(t *testing.T) {
	third := peer.ID("third")
	t.Run("another holder", func(t *testing.T) {
		f := newFixture(t)
		r := f.replicas
		f.halfPinned(1, api.TrackerStatusPinned)
		f.follow(r, 0)
		if f.replicaCount(1) != 2 || len(r.pins) != 0 {
			t.Fatalf("%d replicas, %d pins are followed", f.replicaCount(1), len(r.pins))
		}
		seq := f.cfg.View.Seq()
		rec, _ := f.fake.Record(key(1))
		rec.Allocations, rec.ReplicationFactorMin = []peer.ID{self, third}, 1
		f.cfg.Tracker.PutRecord(rec, true)
		f.want(1, pinned)
		if f.follow(r, seq); f.replicaCount(1) != 2 {
			t.Errorf("%d replicas", f.replicaCount(1))
		}
	})
	t.Run("another member", func(t *testing.T) {
		f := newFixture(t)
		rec := f.pin(1, api.TrackerStatusPinned)
		rec.Allocations, rec.ReplicationFactorMin, rec.ReplicationFactorMax = nil, -1, -1
		f.cfg.Tracker.PutRecord(rec, true)
		f.Record(t.Context(), rec)
		f.follow(f.replicas, 0)
		if f.replicaCount(1) != 2 {
			t.Fatalf("%d replicas", f.replicaCount(1))
		}
		f.cfg.Tracker.SetMembers([]peer.ID{self, other, third})
		f.MembersChanged()
		if f.follow(f.replicas, f.cfg.View.Seq()); f.replicaCount(1) != 3 {
			t.Errorf("%d replicas", f.replicaCount(1))
		}
	})
	t.Run("a scan that came too early", func(t *testing.T) {
		f := newFixture(t)
		f.halfPinned(1, api.TrackerStatusUnpinned)
		if err := f.Scan(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		f.report(1, api.TrackerStatusPinned)
		if f.follow(f.replicas, f.cfg.View.Seq()); f.replicaCount(1) != 2 {
			t.Errorf("%d replicas", f.replicaCount(1))
		}
	})
}

func TestFollowReplicas_OfManyPinsAreBoundedAndNoneIsForgotten(t *testing.T) {
	const pins = maxIncomplete + 10
	f := newFixture(t)
	r := newReplicaPolls()
	seq := f.cfg.View.Seq()
	for i := range pins {
		f.halfPinned(i, api.TrackerStatusPinned)
	}
	if next := f.readChanges(r, seq); next != f.cfg.View.Seq() || len(r.pins) != maxIncomplete {
		t.Errorf("%d pins are followed, up to change %d of %d", len(r.pins), next, f.cfg.View.Seq())
	}
	for range 6 {
		f.clock.Advance(findInterval)
		f.findIncomplete(r)
		f.pollReplicas(t.Context(), r)
	}
	for i := range pins {
		if n := f.replicaCount(i); n != 2 {
			t.Fatalf("pin %d has %d replicas", i, n)
		}
	}
	if len(r.pins) != 0 {
		t.Errorf("%d pins are still followed", len(r.pins))
	}
}

// A peer that does not respond costs no polls, and its pins are found when it is back.
func TestFollowReplicas_APeerThatComesBack(t *testing.T) {
	f := newFixture(t)
	r := f.replicas
	seq := f.cfg.View.Seq()
	f.halfPinned(1, api.TrackerStatusPinned)
	f.Breaker().Failure(clusterfake.Other())
	f.readChanges(r, seq)
	f.clock.Advance(time.Hour)
	f.pollReplicas(t.Context(), r)
	if n := f.fake.Called("PinTracker.Status"); n != 0 || len(r.pins) != 0 {
		t.Errorf("%d polls, %d pins are followed", n, len(r.pins))
	}
	f.probeOpen(t.Context())
	f.findIncomplete(r)
	f.clock.Advance(time.Minute)
	f.pollReplicas(t.Context(), r)
	if n := f.replicaCount(1); n != 2 {
		t.Errorf("%d replicas after the peer came back", n)
	}
}
