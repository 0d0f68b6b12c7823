package peer

import (
	"context"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/pintracker/stateless"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/tracking"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

// newTracker makes the cluster's pin tracker, decorated: the Pinning Service API
// gets an event for each change of the shared state, whichever peer made it.
func (p *Peer) newTracker() {
	cfgs := p.cfg.Helper.Configs()
	upstream := stateless.New(cfgs.Statelesstracker, p.ID(), cfgs.Cluster.Peername, p.consensus.State)
	inner := tracking.NewTracker(upstream, p.ID(), p.consensus.State)
	p.begins.Tracker = inner
	p.tracker = watch.NewTracker(p.trackOrigins(inner), p.ID(), p.consensus.State)
	p.teardown.push("pin tracker", closeLimit, p.tracker.Shutdown)
	p.pins.WatchSpace(p.retryPin)
	if p.raft != nil {
		p.raftTracker = raftstate.NewTracker(p.tracker, p.consensus.State)
		p.raft.OnRestore(p.raftTracker.Restored)
		p.teardown.push("pin tracker of Raft", closeLimit, p.raftTracker.Shutdown)
	}
}

// clusterTracker is the tracker as the cluster gets it.
func (p *Peer) clusterTracker() ipfscluster.PinTracker {
	switch {
	case p.raftTracker != nil:
		return p.raftTracker
	case p.rewriting == nil:
		return p.tracker
	}
	return rewriteTracker{p.tracker, p.rewriting}
}

// rewriteTracker keeps content while its record is removed and added in one commit: the CRDT calls
// its hook for the removal although the same commit adds the pin (U13 in docs/upstream-faults.md),
// and a garbage collection could come in between.
type rewriteTracker struct {
	*watch.Tracker
	rewriting func(cid.Cid) bool
}

// Untrack passes a removal on, unless a Track follows. Whether it did is checked: the removal can be one of
// another peer, which came after the Track.
func (t rewriteTracker) Untrack(ctx context.Context, c api.Cid) error {
	if t.rewriting(c.Cid) {
		t.CheckRemoved(c)
		return nil
	}
	return t.Tracker.Untrack(ctx, c)
}

// promptCommit is the batch age of a cluster that commits each change at once:
// a change that the state does not show after this time is lost.
const promptCommit = 5 * time.Second

// batchAge is how long the cluster may hold an accepted change back.
func (p *Peer) batchAge() time.Duration {
	if kind, _, err := p.cfg.Engines(); err != nil || kind != ConsensusCRDT || p.waitsForCommits() {
		return promptCommit
	}
	return max(p.cfg.Helper.Configs().Crdt.Batching.MaxBatchAge, promptCommit)
}
