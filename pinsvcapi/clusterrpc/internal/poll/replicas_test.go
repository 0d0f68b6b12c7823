package poll

import (
	"context"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

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

func (f fixture) replicas(n int) int {
	row := f.row(n)
	return f.cfg.Tracker.Summary(row.Placement, row.Vector).Pinned
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
		for time.Now().Before(deadline) && f.replicas(1) < 2 {
			f.clock.Advance(time.Second)
			<-time.After(time.Millisecond)
		}
		return f.replicas(1) == 2
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
	for range 2 * 3600 {
		f.clock.Advance(time.Second)
		f.pollReplicas(t.Context(), r)
	}
	if n := f.fake.Called("PinTracker.Status"); n < 30 || n > 60 || len(r.pins) != 1 {
		t.Errorf("%d polls in two hours, %d pins are still followed", n, len(r.pins))
	}
	if f.replicas(1) != 1 || f.replicas(2) != 2 {
		t.Errorf("replicas %d and %d", f.replicas(1), f.replicas(2))
	}
	f.fake.Report(key(1), clusterfake.Report(api.TrackerStatusPinned, ""))
	for range 2 {
		f.clock.Advance(replicaDelays.Max)
		f.pollReplicas(t.Context(), r)
	}
	if f.replicas(1) != 2 || len(r.pins) != 0 {
		t.Errorf("replicas %d in the end, %d pins are still followed", f.replicas(1), len(r.pins))
	}
}

// A holder that catches up is asked within half a minute, although the pin is incomplete for long.
func TestFollowReplicas_AHolderThatCatchesUpIsCountedSoon(t *testing.T) {
	f := newFixture(t)
	r := newReplicaPolls()
	seq := f.cfg.View.Seq()
	f.halfPinned(1, api.TrackerStatusUnpinned)
	f.readChanges(r, seq)
	advance := func(seconds int) {
		for range seconds {
			f.clock.Advance(time.Second)
			r.beginAgain(f.cfg.Now())
			f.pollReplicas(t.Context(), r)
		}
	}
	advance(300)
	f.fake.Report(key(1), clusterfake.Report(api.TrackerStatusPinned, ""))
	if advance(30); f.replicas(1) != 2 {
		t.Error("the holder has had it for half a minute and does not count")
	}
}

// Pins that have been incomplete for an hour are asked about at once when a peer responds again.
func TestFollowReplicas_OldPinsAreNewWhenAPeerComesBack(t *testing.T) {
	f := newFixture(t)
	r := newReplicaPolls()
	seq := f.cfg.View.Seq()
	f.halfPinned(1, api.TrackerStatusUnpinned)
	f.readChanges(r, seq)
	for range 3600 {
		f.clock.Advance(time.Second)
		f.pollReplicas(t.Context(), r)
	}
	f.fake.Report(key(1), clusterfake.Report(api.TrackerStatusPinned, ""))
	r.recovered()
	r.beginAgain(f.cfg.Now())
	if f.pollReplicas(t.Context(), r); f.replicas(1) != 2 {
		t.Error("the holder has it and does not count")
	}
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
		if n := f.replicas(i); n != 2 {
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
	r := f.Poller.replicas
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
	if n := f.replicas(1); n != 2 {
		t.Errorf("%d replicas after the peer came back", n)
	}
}
