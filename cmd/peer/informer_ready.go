package peer

import (
	"context"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// readyInformer is an informer that reads the IPFS node, silent until the node
// has responded once. Upstream reads it as soon as another peer has joined and
// logs errors about a node that is still being set up (U4 in
// docs/upstream-faults.md).
type readyInformer struct {
	ipfscluster.Informer
	ready *gate
}

// GetMetrics returns an invalid metric, which is not sent, until the node is
// ready.
func (i readyInformer) GetMetrics(ctx context.Context) []api.Metric {
	select {
	case <-i.ready.opened:
		return i.Informer.GetMetrics(ctx)
	default:
		return []api.Metric{{Name: i.Name()}}
	}
}
