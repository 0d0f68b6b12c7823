package delegates

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
)

// fixture is a directory over the services of a peer.
type fixture struct {
	*Directory
	fake    *clusterfake.Services
	clock   *clusterfake.Clock
	changes *atomic.Int32
}

func newFixture(t *testing.T, timeout time.Duration) fixture {
	f := fixture{fake: clusterfake.New(), clock: &clusterfake.Clock{}, changes: &atomic.Int32{}}
	tasks := taskgroup.New()
	t.Cleanup(tasks.Close)
	f.Directory = New(Config{
		Client: clusterapi.New(f.fake.Client(t)), Now: f.clock.Now, Tasks: tasks, Timeout: timeout,
		OnChange: func() { f.changes.Add(1) },
	})
	return f
}

func (f fixture) of(ctx context.Context) []string {
	return f.For(ctx, []peer.ID{clusterfake.Self()})
}

func TestDirectory_RequestsOnceAndRefreshesInTheBackground(t *testing.T) {
	f := newFixture(t, time.Minute)
	for range 5 {
		if got := f.of(t.Context()); len(got) != 1 {
			t.Fatalf("%q", got)
		}
	}
	if n := f.fake.Called("Cluster.ID"); n != 1 || f.changes.Load() != 1 {
		t.Errorf("%d requests, %d changes", n, f.changes.Load())
	}
	f.fake.Set(func() { f.fake.ID.IPFS = nodeWith(t, "/ip4/203.0.113.8/tcp/4001") })
	f.clock.Advance(refreshAfter)
	release := f.fake.Hang("Cluster.ID")
	if got := f.of(t.Context()); len(got) != 1 || !strings.Contains(got[0], "203.0.113.7") {
		t.Errorf("while it is requested again: %q", got)
	}
	release()
	await.True(t, "refreshed", func() bool {
		got := f.of(t.Context())
		return len(got) == 1 && strings.Contains(got[0], "203.0.113.8")
	})
	if n := f.changes.Load(); n != 2 {
		t.Errorf("%d changes", n)
	}
}

func TestDirectory_AFrozenPeerCostsOneWait(t *testing.T) {
	f := newFixture(t, 20*time.Millisecond)
	t.Cleanup(f.fake.Hang("Cluster.ID"))
	for range 100 {
		if got := f.of(t.Context()); len(got) != 0 {
			t.Fatalf("%q", got)
		}
	}
	if n := f.fake.Called("Cluster.ID"); n != 1 {
		t.Errorf("%d requests", n)
	}
	f.clock.Advance(retryAfter)
	f.of(t.Context())
	if n := f.fake.Called("Cluster.ID"); n != 2 {
		t.Errorf("%d requests when it is time again", n)
	}
}

// Nodes are often unavailable for a moment, and rarely move.
func TestDirectory_TheAddressesOfAnUnavailableNodeStayKnown(t *testing.T) {
	f := newFixture(t, time.Minute)
	f.of(t.Context())
	f.fake.Set(func() { f.fake.ID.IPFS = api.IPFSID{Error: "connection refused"} })
	f.clock.Advance(24 * time.Hour)
	f.of(t.Context())
	await.True(t, "requested again", func() bool { return f.fake.Called("Cluster.ID") == 2 })
	f.Enter(clusterfake.Self(), api.IPFSID{Error: "connection refused"})
	if got := f.of(t.Context()); len(got) != 1 || !f.Known(clusterfake.Self()) {
		t.Errorf("%q", got)
	}
}

func TestDirectory_WaitingEndsWithTheContext(t *testing.T) {
	f := newFixture(t, time.Minute)
	release := f.fake.Hang("Cluster.ID")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan []string)
	go func() { ended <- f.of(ctx) }()
	cancel()
	if got := <-ended; len(got) != 0 || f.Known(clusterfake.Self()) {
		t.Errorf("%q", got)
	}
	release()
	await.True(t, "entered all the same", func() bool { return f.Known(clusterfake.Self()) })
}
