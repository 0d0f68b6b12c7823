package peer

import (
	"context"
	"sync/atomic"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// setupConsensus is a CRDT consensus whose setup ends when a test says so.
type setupConsensus struct {
	ipfscluster.Consensus
	set   chan struct{}
	stops atomic.Int32
}

func (c *setupConsensus) SetClient(*rpc.Client) {}

func (c *setupConsensus) Ready(context.Context) <-chan struct{} { return c.set }

func (c *setupConsensus) Peers(context.Context) ([]libp2ppeer.ID, error) { return nil, nil }

func (c *setupConsensus) Shutdown(context.Context) error {
	c.stops.Add(1)
	return nil
}

func (c *setupConsensus) State(context.Context) (state.ReadOnly, error) { return state.Empty(), nil }

// Other peers get no pins of a log that is not applied yet; this peer's tracker reads them.
func TestAppliedConsensus_ShowsNoStateThatIsNotApplied(t *testing.T) {
	c := newReadyRaft(&setupConsensus{}, nil)
	applied := appliedConsensus{c}
	if _, err := applied.State(t.Context()); err == nil {
		t.Error("the state is shown before it is complete")
	}
	if _, err := c.State(t.Context()); err != nil {
		t.Error(err)
	}
	c.ready.pass()
	if _, err := applied.State(t.Context()); err != nil {
		t.Error(err)
	}
}

// Peers fails, instead of using a client that is not there, until there is one.
func TestReadyConsensus_PeersBeforeTheClient(t *testing.T) {
	inner := &setupConsensus{set: make(chan struct{})}
	c := newReadyCRDT(inner)
	if _, err := c.Peers(t.Context()); err == nil {
		t.Error("the list of peers was requested before there was a client")
	}
	c.SetClient(&rpc.Client{})
	if _, err := c.Peers(t.Context()); err != nil {
		t.Error(err)
	}
	close(inner.set)
	await.Closed(t, "readiness", c.Ready(t.Context()))
	noError(t, c.Shutdown(t.Context()))
}

// A CRDT that is still being set up is shut down when the limit is over.
func TestReadyConsensus_ShutdownDuringTheSetup(t *testing.T) {
	inner := &setupConsensus{set: make(chan struct{})}
	c := newReadyCRDT(inner)
	c.SetClient(&rpc.Client{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	noError(t, c.Shutdown(ended))
	if inner.stops.Load() != 1 {
		t.Errorf("%d shutdowns", inner.stops.Load())
	}
}

// A consensus that never got a client is shut down at once.
func TestReadyConsensus_ShutdownBeforeTheClient(t *testing.T) {
	inner := &setupConsensus{set: make(chan struct{})}
	c := newReadyCRDT(inner)
	noError(t, c.Shutdown(t.Context()))
	c.SetClient(&rpc.Client{}) // Starts nothing.
	c.wg.Wait()
	if inner.stops.Load() != 1 {
		t.Errorf("%d shutdowns", inner.stops.Load())
	}
}
