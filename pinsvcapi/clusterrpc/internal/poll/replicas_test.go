package poll

import (
	"context"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

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
	clusterfake.Until(t, "complete", func() bool {
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

func TestFollowReplicas_PollsEndAfterAWhile(t *testing.T) {
	f := newFixture(t)
	r := replicaPolls{pins: make(map[cid.Cid]replicaPoll)}
	seq := f.cfg.View.Seq()
	f.halfPinned(1, api.TrackerStatusPinQueued)
	f.halfPinned(2, api.TrackerStatusPinned)
	f.readChanges(&r, seq)
	if len(r.pins) != 2 {
		t.Fatalf("%d pins are followed", len(r.pins))
	}
	for range maxReplicaPolls + 2 {
		f.clock.Advance(quietDelays.Max)
		f.pollReplicas(t.Context(), &r)
	}
	if n := f.fake.Called("PinTracker.Status"); n != maxReplicaPolls+1 || len(r.pins) != 0 {
		t.Errorf("%d polls, %d pins are still followed", n, len(r.pins))
	}
	if f.replicas(1) != 1 || f.replicas(2) != 2 {
		t.Errorf("replicas %d and %d", f.replicas(1), f.replicas(2))
	}
}

func TestFollowReplicas_OfManyPinsAreBounded(t *testing.T) {
	f := newFixture(t)
	r := replicaPolls{pins: make(map[cid.Cid]replicaPoll)}
	seq := f.cfg.View.Seq()
	for i := range maxIncomplete + 10 {
		f.halfPinned(i, api.TrackerStatusPinQueued)
	}
	if next := f.readChanges(&r, seq); next != f.cfg.View.Seq() || len(r.pins) != maxIncomplete {
		t.Errorf("%d pins are followed, up to change %d of %d", len(r.pins), next, f.cfg.View.Seq())
	}
}
