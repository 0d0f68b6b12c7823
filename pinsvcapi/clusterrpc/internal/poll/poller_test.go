package poll

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// TestMain fails when a poller leaves goroutines behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

const (
	queued, pinning = pinsvc.StatusQueued, pinsvc.StatusPinning
	pinned, failed  = pinsvc.StatusPinned, pinsvc.StatusFailed
)

var (
	errBroken = errors.New("the datastore is closed")
	self      = clusterfake.Self()
	other     = clusterfake.Other()
)

// fixture is a poller over the services of a peer, which is a cluster of two.
type fixture struct {
	*Poller
	t     testing.TB
	fake  *clusterfake.Services
	clock *clusterfake.Clock
}

func newFixture(t testing.TB) fixture {
	f := fixture{t: t, fake: clusterfake.New(), clock: &clusterfake.Clock{}}
	view, tasks := pinset.NewLoading(), taskgroup.New()
	t.Cleanup(tasks.Close)
	view.FinishLoad()
	tracker := peerstatus.NewTracker(peerstatus.Config{
		View: view, Now: f.clock.Now, Clock: pinrecord.NewClock(f.clock.Now), MaxAttempts: 1, RetryDelay: time.Second,
	})
	tracker.SetMembers([]peer.ID{self, other})
	client := clusterapi.New(f.fake.Client(t))
	f.Poller = New(Config{
		Client: client, Tracker: tracker, View: view, Self: self, Now: f.clock.Now, Tasks: tasks,
		Read: func(_ context.Context, key api.Cid) (api.Pin, bool, error) {
			rec, found := f.fake.Record(key.Cid)
			return rec, found, nil
		},
		StatusTimeout: 2 * time.Second, ActiveInterval: time.Second, ActiveTimeout: 10 * time.Second,
		ScanInterval: time.Hour, MaxAttempts: 1,
	})
	return f
}

// pin enters a pin that these peers should hold, and what their trackers report.
func (f fixture) pin(n int, status api.TrackerStatus, holders ...peer.ID) api.Pin {
	rec := f.fake.Held(pinsvctest.RawCID(n))
	if len(holders) > 0 {
		rec.Allocations = holders
	}
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = len(rec.Allocations), len(rec.Allocations)
	f.fake.Put(rec)
	f.report(n, status)
	f.cfg.Tracker.PutRecord(rec, false)
	return rec
}

func (f fixture) report(n int, status api.TrackerStatus) {
	f.fake.Report(pinsvctest.RawCID(n), clusterfake.Report(status, "the item should be pinned but it is not"))
}

func (f fixture) row(n int) pinset.Pin {
	f.t.Helper()
	row, ok := f.cfg.View.Get(pinsvctest.RawCID(n))
	if !ok {
		f.t.Fatalf("the view has no pin %d", n)
	}
	return row
}

func (f fixture) want(n int, status pinsvc.Status) {
	f.t.Helper()
	if got := f.row(n).Status; got != status {
		f.t.Errorf("pin %d is %s, want %s", n, got, status)
	}
}

// poll is Active after the interval, and waits for the polls to end.
func (f fixture) poll() (changed bool) {
	f.t.Helper()
	f.clock.Advance(time.Hour)
	changed = f.Active(f.t.Context())
	f.idle()
	return changed
}

// idle waits until no active poll is in progress.
func (f fixture) idle() {
	f.active.mu.Lock()
	var polls []chan struct{}
	for _, state := range f.active.peers {
		if state.done != nil {
			polls = append(polls, state.done)
		}
	}
	f.active.mu.Unlock()
	for _, done := range polls {
		<-done
	}
}

func key(n int) cid.Cid { return pinsvctest.RawCID(n) }

func TestPoller_Stats(t *testing.T) {
	f := newFixture(t)
	rec := f.pin(1, api.TrackerStatusPinned, self, other)
	f.Record(t.Context(), rec)
	if err := f.Scan(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	f.breaker.Failure(other)
	stats := f.Stats()
	if len(stats) != 2 || stats[self].Succeeded != 1 || stats[self].Open || !stats[self].Scanned.Equal(f.clock.Now()) {
		t.Errorf("this peer: %+v", stats[self])
	}
	if stats[other].Succeeded != 1 || !stats[other].Open || !stats[other].Scanned.IsZero() {
		t.Errorf("the other: %+v", stats[other])
	}
	f.fake.Fail("PinTracker.Status", errBroken)
	f.breaker.Success(other)
	f.Record(t.Context(), rec)
	if stats = f.Stats(); stats[self].Failed != 1 || stats[self].Open || stats[other].Failed != 1 || !stats[other].Open {
		t.Errorf("%+v", stats)
	}
}

// A call that the client cancelled says nothing of the peer.
func TestPoller_ACancelledCallOpensNoCircuit(t *testing.T) {
	f := newFixture(t)
	rec := f.pin(1, api.TrackerStatusPinned, other)
	defer f.fake.Hang("PinTracker.Status")()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Record(ctx, rec)
	}()
	await.True(t, "polled", func() bool { return f.fake.Called("PinTracker.Status") > 0 })
	cancel()
	<-ended
	if f.breaker.Open(other) || f.Stats()[other].Failed != 0 {
		t.Errorf("%+v", f.Stats()[other])
	}
}

// Callers that give up before a frozen peer has had its time do not keep it from being found frozen, whatever
// they ask about.
func TestPoller_ImpatientClientsFindAFrozenPeer(t *testing.T) {
	for name, ask := range map[string]func(context.Context, fixture) (pinned bool){
		"a pin": func(ctx context.Context, f fixture) bool {
			return f.Record(ctx, f.pin(1, api.TrackerStatusPinned, other))
		},
		"a pin that the view does not have": func(ctx context.Context, f fixture) bool {
			complete, _ := f.Outcome(ctx, f.pin(1, api.TrackerStatusPinned, other))
			return complete
		},
		"a sharded root": func(ctx context.Context, f fixture) bool {
			root, index, shards := f.sharded()
			for _, part := range append(shards, index) {
				rec, _ := f.fake.Record(part)
				rec.Allocations = []peer.ID{other}
				f.fake.Put(rec)
			}
			return f.Record(ctx, root)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				release := f.fake.Hang("PinTracker.Status")
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), f.cfg.StatusTimeout/2)
				defer cancel()
				if ask(ctx, f) {
					t.Error("it is confirmed")
				}
				if took := time.Since(began); took != f.cfg.StatusTimeout/2 {
					t.Errorf("the client waited for %s", took)
				}
				time.Sleep(f.cfg.StatusTimeout)
				synctest.Wait()
				if !f.breaker.Open(other) || f.Stats()[other].Failed != 1 {
					t.Errorf("%+v", f.Stats()[other])
				}
				release()
			})
		})
	}
}
