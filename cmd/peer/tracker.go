package peer

import (
	"context"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/pintracker/stateless"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/tracking"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

// newTracker makes the cluster's pin tracker, decorated: the Pinning Service API
// gets an event for each change of the shared state, whichever peer made it.
func (p *Peer) newTracker() {
	cfgs := p.cfg.Helper.Configs()
	upstream := stateless.New(cfgs.Statelesstracker, p.ID(), cfgs.Cluster.Peername, tracking.State(p.consensus.State))
	inner := tracking.NewTracker(upstream, tracking.Config{
		Self: p.ID(), State: p.consensus.State, Node: p.connector, GivenUp: func(c api.Cid) { p.givenUp(c.Cid, true) },
	})
	p.begins.Tracker = inner
	p.tracker = watch.NewTracker(p.trackOrigins(inner), p.ID(), p.consensus.State)
	p.teardown.push("pin tracker", closeLimit, p.tracker.Shutdown)
	p.pins.WatchSpace(p.retryPin)
	if p.raft != nil {
		p.raftTracker = raftstate.NewTracker(p.tracker, p.consensus.State, p.raft.Applied())
		p.raft.OnRestore(p.raftTracker.Restored)
		p.teardown.push("pin tracker of Raft", closeLimit, p.raftTracker.Shutdown)
	}
}

// clusterTracker is the tracker as the cluster gets it.
func (p *Peer) clusterTracker() ipfscluster.PinTracker {
	switch {
	case p.raftTracker != nil:
		return p.raftTracker
	case p.crdt == nil:
		return p.tracker
	}
	return crdtTracker{p.tracker, p.crdt.left}
}

// crdtTracker unpins content only when its pin is gone. The CRDT calls its hook for a removal also when
// another value takes the place of the one that is removed, which may be one that this peer has
// superseded long ago, and when the same commit adds the pin (U13 in docs/upstream-faults.md). This peer
// can be the only one that has the content, and a garbage collection could come in between.
type crdtTracker struct {
	*watch.Tracker
	left func(context.Context, api.Cid) (rec *api.Pin, gone bool)
}

// Untrack passes a removal on when nothing is left.
func (t crdtTracker) Untrack(ctx context.Context, c api.Cid) error {
	switch rec, gone := t.left(ctx, c); {
	case gone:
		return t.Tracker.Untrack(ctx, c)
	case rec != nil:
		t.Recheck(*rec, true)
	default:
		t.CheckRemoved(c)
	}
	return nil
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
