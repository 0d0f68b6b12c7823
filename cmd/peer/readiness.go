package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
)

// gate is a readiness signal that anyone can wait for, and that can be held
// shut. Upstream's Cluster.Shutdown deadlocks when the cluster becomes ready
// in the midst of it: it holds a lock that the ready one then wants, and
// waits for it. A gate that is held when stopping begins cannot do so.
type gate struct {
	mu     sync.Mutex
	opened chan struct{}
	open   bool
	held   bool
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.held && !g.open {
		g.open = true
		close(g.opened)
	}
}

// hold keeps a gate shut from now on, and tells whether it was open already.
func (g *gate) hold() (open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
	return g.open
}

// consensus is CRDT or Raft of which the peer waits as long as it takes to
// become ready. Upstream's Raft waits for a leader once, for
// wait_for_leader_timeout, and is never ready after that; the cluster then
// shuts itself down, from a goroutine that this shutdown waits for. Raft
// itself goes on looking for a quorum, so asking it again is enough.
type consensus struct {
	ipfscluster.Consensus
	ready *gate
	// again is nil for CRDT. For Raft it says in words what is missing when
	// a wait was in vain.
	again func(context.Context) string
	// batching is set for CRDT with batching, see settle.
	batching bool

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	hasRPC sync.Once
	began  atomic.Bool // Set once the inner consensus has its client.
}

func newConsensus(inner ipfscluster.Consensus, again func(context.Context) string) *consensus {
	c := &consensus{Consensus: inner, ready: newGate(), again: again}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// SetClient lets the consensus begin.
func (c *consensus) SetClient(client *rpc.Client) {
	c.Consensus.SetClient(client)
	c.hasRPC.Do(func() {
		c.began.Store(true)
		c.wg.Go(c.wait)
	})
}

// Peers fails until the consensus has its client: other peers may ask for them
// as soon as the host listens, and upstream's CRDT would then use a client
// that is not there.
func (c *consensus) Peers(ctx context.Context) ([]peer.ID, error) {
	if !c.began.Load() {
		return nil, errors.New("the peer is starting")
	}
	return c.Consensus.Peers(ctx)
}

// Ready returns a channel that is closed once the consensus is ready.
func (c *consensus) Ready(context.Context) <-chan struct{} { return c.ready.opened }

func (c *consensus) wait() {
	if c.again == nil {
		select {
		case <-c.Consensus.Ready(c.ctx):
			c.ready.pass()
		case <-c.ctx.Done():
		}
		return
	}
	for {
		// WaitForSync has its own limit, so that this does not spin.
		err := c.Consensus.WaitForSync(c.ctx)
		if err == nil {
			c.ready.pass()
			return
		}
		if c.ctx.Err() != nil {
			return
		}
		logger.Warnf("Raft has no quorum yet, trying again: %s (%s)", err, c.again(c.ctx))
		pause := time.NewTimer(retryPause)
		select {
		case <-c.ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// retryPause bounds how often a failing wait for a quorum is repeated when it
// fails at once.
const retryPause = time.Second

// settleWait is how long stopping waits for a consensus that is being set up.
const settleWait = 10 * time.Second

// Shutdown stops the waiting and then the consensus.
func (c *consensus) Shutdown(ctx context.Context) error {
	c.hasRPC.Do(func() {}) // A SetClient from now on does not begin anything.
	if c.began.Load() && c.again == nil {
		if err := c.settle(ctx); err != nil && c.batching {
			return err
		}
	}
	c.cancel()
	c.wg.Wait()
	return c.Consensus.Shutdown(ctx)
}

// settle waits until upstream's CRDT is set up. Shutting it down before is a
// race with the setup, and, with batching, waits for ever for a worker that
// only the end of the setup starts.
func (c *consensus) settle(ctx context.Context) error {
	set := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(set)
	}()
	patience := time.NewTimer(settleWait)
	defer patience.Stop()
	select {
	case <-set:
		return nil
	case <-patience.C:
		return errors.New("the CRDT store is still being set up")
	case <-ctx.Done():
		return fmt.Errorf("the CRDT store is still being set up: %w", ctx.Err())
	}
}

// connector is any IPFS connector behind a gate.
type connector struct {
	ipfscluster.IPFSConnector
	ready *gate

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newConnector(inner ipfscluster.IPFSConnector) *connector {
	c := &connector{IPFSConnector: inner, ready: newGate()}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.wg.Go(func() {
		select {
		case <-inner.Ready(c.ctx):
			c.ready.pass()
		case <-c.ctx.Done():
		}
	})
	return c
}

// Ready returns a channel that is closed once the IPFS node answers.
func (c *connector) Ready(context.Context) <-chan struct{} { return c.ready.opened }

// Shutdown stops the waiting and then the connector.
func (c *connector) Shutdown(ctx context.Context) error {
	c.cancel()
	c.wg.Wait()
	return c.IPFSConnector.Shutdown(ctx)
}

// monitor is any monitor, with a signal that the cluster is running: alerts
// are what a cluster asks for once it has become ready, and nobody else does.
// Its own Ready comes a moment too early; see gate.
type monitor struct {
	ipfscluster.PeerMonitor
	running *gate
	stop    sync.Once
}

// Shutdown shuts the monitor down, once: upstream's warns of a second time.
func (m *monitor) Shutdown(ctx context.Context) (err error) {
	m.stop.Do(func() { err = m.PeerMonitor.Shutdown(ctx) })
	return err
}

// Alerts returns the monitor's alerts.
func (m *monitor) Alerts() <-chan api.Alert {
	m.running.pass()
	return m.PeerMonitor.Alerts()
}

// patient is an informer of what the IPFS node says, which is not asked before
// the node has answered. Upstream asks as soon as other peers are joined, and
// its informer then logs errors of a node that is still being made.
type patient struct {
	ipfscluster.Informer
	ready *gate
}

// GetMetrics returns an invalid metric, which is not sent, until then.
func (p patient) GetMetrics(ctx context.Context) []api.Metric {
	select {
	case <-p.ready.opened:
		return p.Informer.GetMetrics(ctx)
	default:
		return []api.Metric{{Name: p.Name()}}
	}
}
