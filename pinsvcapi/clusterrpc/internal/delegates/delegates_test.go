package delegates

import (
	"context"
	"errors"
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

// refresh is Refresh for the one member.
func (f fixture) refresh() { f.Refresh([]peer.ID{clusterfake.Self()}) }

// pending reports whether the one peer is being asked.
func (f fixture) pending() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[clusterfake.Self()].pending != nil
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
	f.clock.Advance(refreshAfter - 1)
	f.refresh() // They are not old yet.
	f.clock.Advance(1)
	release := f.fake.Hang("Cluster.ID")
	f.refresh()
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
	for n := 2; n <= 10; n++ {
		f.clock.Advance(retryDelays.Max)
		f.refresh()
		await.True(t, "asked again", func() bool { return f.fake.Called("Cluster.ID") == n && !f.pending() })
		f.refresh() // It is not time again.
	}
}

// Only the first answer of a peer is waited for, whoever asked it: after that its addresses are what is
// known of it, and Refresh asks for them.
func TestDirectory_APeerThatHasGivenNoAddressIsNotWaitedFor(t *testing.T) {
	f := newFixture(t, time.Minute)
	f.fake.Fail("Cluster.ID", errors.New("stream reset"))
	f.refresh()
	await.True(t, "asked", func() bool { return f.fake.Called("Cluster.ID") == 1 && !f.pending() })
	release := f.fake.Hang("Cluster.ID")
	f.clock.Advance(time.Hour)
	if got := f.of(t.Context()); len(got) != 0 || f.fake.Called("Cluster.ID") != 1 {
		t.Errorf("%q, %d requests", got, f.fake.Called("Cluster.ID"))
	}
	f.refresh()
	await.True(t, "asked again", func() bool { return f.fake.Called("Cluster.ID") == 2 })
	if got := f.of(t.Context()); len(got) != 0 { // It does not wait for that.
		t.Errorf("%q", got)
	}
	f.fake.Fail("Cluster.ID", nil)
	release()
	await.True(t, "answered", func() bool { return !f.pending() })
	f.clock.Advance(time.Hour)
	f.refresh()
	await.True(t, "known", func() bool { return len(f.of(t.Context())) == 1 })
}

// The holder of a pin that is no member, as one whose clock is back, is asked as long as it is wanted.
func TestDirectory_RefreshAsksOthersThatAreWanted(t *testing.T) {
	f := newFixture(t, time.Minute)
	f.of(t.Context())
	for n := 2; n <= 3; n++ {
		f.clock.Advance(time.Hour)
		f.of(t.Context())
		f.Refresh(nil)
		await.True(t, "asked", func() bool { return f.fake.Called("Cluster.ID") == n && !f.pending() })
		f.clock.Advance(time.Hour)
		f.Refresh(nil)
		if f.pending() {
			t.Error("a peer is asked that nobody has wanted since")
		}
	}
}

// Nodes are often unavailable for a moment, and rarely move.
func TestDirectory_TheAddressesOfAnUnavailableNodeStayKnown(t *testing.T) {
	f := newFixture(t, time.Minute)
	f.of(t.Context())
	f.fake.Set(func() { f.fake.ID.IPFS = api.IPFSID{Error: "connection refused"} })
	f.clock.Advance(24 * time.Hour)
	f.refresh()
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
