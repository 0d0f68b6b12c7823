package peer

import (
	"context"
	"slices"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/libp2p/go-libp2p/core/peer"
)

// memberConsensus is a consensus in which a peer that is being stopped is a member still. Upstream's cluster looks
// whether it is one from time to time, and a look in a shutdown that has removed it deadlocks with that (U122 in
// docs/upstream-faults.md).
type memberConsensus struct {
	ipfscluster.Consensus
	self peer.ID

	mu       sync.Mutex
	stopping bool
	removed  bool // seen before stopping
}

// removedWait is how long a cluster that has seen that it was removed has for the begin of its shutdown.
const removedWait = time.Second

// Peers returns the members.
func (c *memberConsensus) Peers(ctx context.Context) ([]peer.ID, error) {
	members, err := c.Consensus.Peers(ctx)
	if err != nil || slices.Contains(members, c.self) {
		return members, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return append(members, c.self), nil
	}
	c.removed = true
	return members, nil
}

// hold makes the peer a member from now on, whatever the consensus says. A cluster that has seen before that it is none
// begins to shut down by itself, and is given time for that.
func (c *memberConsensus) hold(ctx context.Context, cluster *ipfscluster.Cluster) {
	c.mu.Lock()
	c.stopping = true
	removed := c.removed
	c.mu.Unlock()
	if !removed {
		return
	}
	timeout := time.NewTimer(removedWait)
	defer timeout.Stop()
	select {
	case <-cluster.Done():
	case <-ctx.Done():
	case <-timeout.C:
	}
}
