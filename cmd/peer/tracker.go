package peer

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/pintracker/stateless"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

// newTracker makes the cluster's pin tracker, watched: the Pinning Service API
// learns from it what changes in the shared state, whoever changed it.
func (p *Peer) newTracker() {
	cfgs := p.cfg.Helper.Configs()
	inner := stateless.New(cfgs.Statelesstracker, p.ID(), cfgs.Cluster.Peername, p.consensus.State)
	p.tracker = watch.NewTracker(p.trackOrigins(inner), p.ID(), p.consensus.State)
	p.teardown.push("pin tracker", closeLimit, p.tracker.Shutdown)
}

// promptCommit is the batch age of a cluster that commits every change at
// once: what its state does not show soon, it has lost.
const promptCommit = 5 * time.Second

// batchAge is how long the cluster may keep an accepted change to itself.
func (p *Peer) batchAge() time.Duration {
	cfgs := p.cfg.Helper.Configs()
	name, _, err := p.cfg.Engines()
	batching := cfgs.Crdt.Batching
	if err != nil || name != cfgs.Crdt.ConfigKey() || batching.MaxBatchSize <= 0 || batching.MaxBatchAge <= 0 {
		return promptCommit
	}
	return max(batching.MaxBatchAge, promptCommit)
}
