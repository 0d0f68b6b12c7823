package peer

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/pintracker/stateless"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

// newTracker makes the cluster's pin tracker, decorated: the Pinning Service API
// gets an event for each change of the shared state, whichever peer made it.
func (p *Peer) newTracker() {
	cfgs := p.cfg.Helper.Configs()
	inner := stateless.New(cfgs.Statelesstracker, p.ID(), cfgs.Cluster.Peername, p.consensus.State)
	p.tracker = watch.NewTracker(p.trackOrigins(inner), p.ID(), p.consensus.State)
	p.teardown.push("pin tracker", closeLimit, p.tracker.Shutdown)
	p.pins.WatchSpace(p.retryPin)
}

// promptCommit is the batch age of a cluster that commits each change at once:
// a change that the state does not show after this time is lost.
const promptCommit = 5 * time.Second

// batchAge is how long the cluster may hold an accepted change back.
func (p *Peer) batchAge() time.Duration {
	cfg := p.cfg.Helper.Configs().Crdt
	if kind, _, err := p.cfg.Engines(); err != nil || kind != ConsensusCRDT || !batches(cfg) {
		return promptCommit
	}
	return max(cfg.Batching.MaxBatchAge, promptCommit)
}
