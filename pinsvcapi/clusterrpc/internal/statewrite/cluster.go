package statewrite

import (
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// clusterSettings is what a Writer has learnt of the cluster's configuration from writes
// that it accepted; neither changes while the peer runs. The consensus makes none of the
// checks of Cluster.Pin and Cluster.Unpin (follower mode, default replication factors,
// allocations), which read the state again. So the first writes go through those, and the
// others directly to the consensus. It is safe for concurrent use.
type clusterSettings struct {
	// writes: this peer is not in follower mode.
	writes atomic.Bool
	// factors are the default replication factors, nil before they are known.
	factors atomic.Pointer[factors]
}

type factors struct{ min, max int }

// prepare makes a record one that the state may have. direct reports whether it can be
// handed to the consensus as it is; otherwise the cluster has to complete it.
func (c *clusterSettings) prepare(rec api.Pin, now time.Time) (_ api.Pin, direct bool) {
	// A pin that the cluster once made by an update would be made by an update again,
	// which needs the content that it was updated from.
	rec.PinUpdate = api.CidUndef
	rec.Timestamp = now
	complete := rec
	if defaults := c.factors.Load(); defaults != nil {
		if complete.ReplicationFactorMin == 0 {
			complete.ReplicationFactorMin = defaults.min
		}
		if complete.ReplicationFactorMax == 0 {
			complete.ReplicationFactorMax = defaults.max
		}
	}
	if complete.IsPinEverywhere() {
		complete.Allocations = nil
	}
	switch {
	case !c.writes.Load(), complete.ReplicationFactorMin == 0, complete.ReplicationFactorMax == 0:
		return rec, false
	case !complete.ExpireAt.IsZero() && complete.ExpireAt.Before(now):
		return rec, false // The cluster refuses it.
	case complete.Type == api.DataType:
		direct = complete.IsPinEverywhere() || len(complete.Allocations) > 0
	case complete.Type == api.MetaType:
		direct = len(complete.Allocations) == 0 && complete.Reference != nil
	}
	if !direct {
		return rec, false
	}
	return complete, true
}

// learn notes what the cluster made of a record.
func (c *clusterSettings) learn(asked, written api.Pin) {
	if asked.Type == api.DataType && asked.ReplicationFactorMin == 0 && asked.ReplicationFactorMax == 0 {
		c.factors.Store(&factors{written.ReplicationFactorMin, written.ReplicationFactorMax})
	}
	c.writes.Store(true)
}

// deletesDirectly reports whether the removal of a record can be handed to the consensus.
// With a sharded root the cluster removes the shards.
func (c *clusterSettings) deletesDirectly(rec api.Pin) bool {
	return c.writes.Load() && rec.Type == api.DataType
}
