package peer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

const (
	// quorumRetry is the pause between two waits for a Raft quorum.
	quorumRetry = time.Second
	// setupTimeout is how long Shutdown waits for a CRDT that is being set up.
	setupTimeout = 10 * time.Second
)

// readyConsensus is CRDT or Raft with a readiness signal that comes however
// long it takes. It is by hand because of two upstream faults
// (docs/upstream-faults.md): Raft waits for a leader once and is never ready
// after that (U2), and a CRDT that is shut down during its setup deadlocks or
// uses a missing RPC client (U3).
type readyConsensus struct {
	ipfscluster.Consensus
	kind  ConsensusKind
	ready *gate
	// missing describes what Raft lacks for a quorum. It is not used for CRDT.
	missing func(context.Context) string

	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	startOnce sync.Once
	started   atomic.Bool // Set once the inner consensus has its client.
}

func newReadyCRDT(inner ipfscluster.Consensus) *readyConsensus {
	return newReadyConsensus(&readyConsensus{Consensus: inner, kind: ConsensusCRDT})
}

func newReadyRaft(inner ipfscluster.Consensus, missing func(context.Context) string) *readyConsensus {
	return newReadyConsensus(&readyConsensus{Consensus: inner, kind: ConsensusRaft, missing: missing})
}

func newReadyConsensus(c *readyConsensus) *readyConsensus {
	c.ready = newGate()
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// SetClient lets the consensus start.
func (c *readyConsensus) SetClient(client *rpc.Client) {
	c.Consensus.SetClient(client)
	c.startOnce.Do(func() {
		c.started.Store(true)
		c.wg.Go(c.awaitReady)
	})
}

// Peers fails until the consensus has its client: other peers may request the
// list as soon as the host listens, and upstream's CRDT would then call a nil
// client (U3).
func (c *readyConsensus) Peers(ctx context.Context) ([]peer.ID, error) {
	if !c.started.Load() {
		return nil, errors.New("the peer is starting")
	}
	return c.Consensus.Peers(ctx)
}

// Ready returns a channel that is closed once the consensus is ready.
func (c *readyConsensus) Ready(context.Context) <-chan struct{} { return c.ready.opened }

// appliedConsensus is the consensus as the cluster has it. Other peers that do not know a pin ask
// the cluster for it, and believe what it says.
type appliedConsensus struct{ *readyConsensus }

// State fails until the consensus is ready: before that a Raft peer has not applied all of its log,
// and its state has pins that are removed by what is to come.
func (c appliedConsensus) State(ctx context.Context) (state.ReadOnly, error) {
	select {
	case <-c.ready.opened:
		return c.readyConsensus.State(ctx)
	default:
		return nil, errors.New("the peer is starting: its state is not complete")
	}
}

func (c *readyConsensus) awaitReady() {
	if c.kind == ConsensusRaft {
		c.awaitQuorum()
		return
	}
	select {
	case <-c.Consensus.Ready(c.ctx):
		c.ready.pass()
	case <-c.ctx.Done():
	}
}

// awaitQuorum repeats upstream's wait for a leader until it succeeds. Raft
// itself keeps looking for a quorum in between.
func (c *readyConsensus) awaitQuorum() {
	for {
		err := c.Consensus.WaitForSync(c.ctx) // Limited by wait_for_leader_timeout.
		if err == nil {
			c.ready.pass()
			return
		}
		if c.ctx.Err() != nil {
			return
		}
		logger.Warnf("Raft has no quorum yet, trying again: %s (%s)", err, c.missing(c.ctx))
		if !backoff.Sleep(c.ctx, quorumRetry) {
			return
		}
	}
}

// Shutdown stops waiting for readiness and then shuts the consensus down.
func (c *readyConsensus) Shutdown(ctx context.Context) error {
	c.startOnce.Do(func() {}) // A SetClient from now on starts nothing.
	if c.started.Load() && c.kind == ConsensusCRDT {
		c.awaitSetup(ctx)
	}
	c.cancel()
	c.wg.Wait()
	return c.Consensus.Shutdown(ctx)
}

// awaitSetup waits until upstream's CRDT is set up, within limits. A shutdown before that races with
// the setup (U3).
func (c *readyConsensus) awaitSetup(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	timeout := time.NewTimer(setupTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	case <-ctx.Done():
	}
}
