package peer

import (
	"context"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	rpc "github.com/libp2p/go-libp2p-gorpc"
)

// lateClientAPI is an API that gets its RPC client once all other components
// have theirs. It is by hand because of two upstream faults
// (docs/upstream-faults.md): the cluster sets the APIs' client first, so that
// requests reach components which have none yet (U8); and a shutdown that
// fails in an API leaves the rest of the peer running (U9).
type lateClientAPI struct {
	ipfscluster.API
	name   string
	client *rpc.Client // Read only after NewCluster, which sets it, has returned.
}

// SetClient keeps the client for connect.
func (a *lateClientAPI) SetClient(client *rpc.Client) { a.client = client }

// connect passes the client on, if the cluster has set one.
func (a *lateClientAPI) connect() {
	if a.client != nil {
		a.API.SetClient(a.client)
	}
}

// Shutdown shuts the API down, logs an error and returns nil.
func (a *lateClientAPI) Shutdown(ctx context.Context) error {
	if err := a.API.Shutdown(ctx); err != nil {
		logger.Warnf("stopping %s: %s", a.name, err)
	}
	return nil
}
