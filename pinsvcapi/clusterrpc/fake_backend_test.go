package clusterrpc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// This file has the fixture of tests on the fake services of a peer, with which a test
// makes calls fail and hang. That of tests on real peers is in peer_service_test.go.

const (
	queued, pinning = pinsvc.StatusQueued, pinsvc.StatusPinning
	pinned, failed  = pinsvc.StatusPinned, pinsvc.StatusFailed
)

var errBroken = errors.New("the datastore is closed")

// everything is a query for the first pins of all.
func everything(limit int) pinsvc.Query {
	return pinsvc.Query{Limit: limit, Statuses: pinsvc.AllStatuses}
}

// fakeBackend is a backend on the fake services of a peer.
type fakeBackend struct {
	*clusterrpc.Backend
	t      testing.TB
	fake   *clusterfake.Services
	clock  *clusterfake.Clock
	events *clusterfake.Events[clusterrpc.Event]
	health *clusterfake.Health
}

// start starts a backend, which is closed with the test. Polls come as often as they are
// requested, no confirmation is kept, and the first failed attempt is the last, unless opts
// say else. The clock is running.
func start(t testing.TB, fake *clusterfake.Services, opts clusterrpc.Options) fakeBackend {
	t.Helper()
	f := fakeBackend{
		t: t, fake: fake, clock: &clusterfake.Clock{Running: true}, events: &clusterfake.Events[clusterrpc.Event]{}, health: &clusterfake.Health{},
	}
	opts.Self = clusterfake.Self()
	if opts.ActivePollInterval == 0 {
		opts.ActivePollInterval = time.Nanosecond
	}
	if opts.MaxPinAttempts == 0 {
		opts.MaxPinAttempts = 1
	}
	if opts.StatusMaxAge == 0 {
		opts.StatusMaxAge = -1
	}
	if opts.Now == nil {
		opts.Now = f.clock.Now
	}
	if opts.Events == nil {
		opts.Events = f.events
	}
	if opts.ComponentHealth == nil {
		opts.ComponentHealth = f.health
	}
	f.Backend = clusterrpc.New(fake.Client(t), opts)
	t.Cleanup(f.Close)
	return f
}

// ready is start, and waits until the backend is ready.
func ready(t testing.TB, fake *clusterfake.Services, opts clusterrpc.Options) fakeBackend {
	t.Helper()
	f := start(t, fake, opts)
	f.untilReady()
	return f
}

func (f fakeBackend) untilReady() {
	f.t.Helper()
	await.True(f.t, "ready", func() bool { return f.Ready() == nil })
}

func (f fakeBackend) add(pin pinsvc.Pin) pinsvc.PinStatus {
	f.t.Helper()
	st, err := f.Add(f.t.Context(), "", pin)
	if err != nil {
		f.t.Fatalf("Add(%s): %v", pin.CID, err)
	}
	return st
}

func (f fakeBackend) get(c cid.Cid) pinsvc.PinStatus {
	f.t.Helper()
	st, err := f.Get(f.t.Context(), "", c.String())
	if err != nil {
		f.t.Fatalf("Get(%s): %v", c, err)
	}
	return st
}

func (f fakeBackend) list(q pinsvc.Query) pinsvc.PinResults {
	f.t.Helper()
	page, err := pinsvctest.Results(f.List(f.t.Context(), "", q))
	if err != nil {
		f.t.Fatalf("List: %v", err)
	}
	return page
}

// count is how many pins there are.
func (f fakeBackend) count() int {
	f.t.Helper()
	return f.list(everything(1)).Count
}

// becomes waits until a list shows that status of the only pin.
func (f fakeBackend) becomes(want pinsvc.Status) (last pinsvc.PinStatus) {
	f.t.Helper()
	await.True(f.t, want.String(), func() bool {
		page := f.list(everything(1))
		if len(page.Results) != 1 {
			f.t.Fatalf("%d pins", len(page.Results))
		}
		last = page.Results[0]
		return last.Status == want
	})
	return last
}

// pending reports whether there is an uncommitted write to a pin.
func (f fakeBackend) pending(c cid.Cid) bool {
	return f.Syncer().Uncommitted().Pending(c)
}

// changed puts a record into the state and announces it, as another peer does.
func (f fakeBackend) changed(rec api.Pin) {
	f.fake.Put(rec)
	f.events.Send(clusterrpc.RecordEvent(rec))
}

func wantKind(t testing.TB, what string, err error, kind pinsvc.Kind) {
	t.Helper()
	var failure *pinsvc.Error
	if !errors.As(err, &failure) || failure.Kind != kind {
		t.Errorf("%s failed with %v, want kind %d", what, err, kind)
	}
}
