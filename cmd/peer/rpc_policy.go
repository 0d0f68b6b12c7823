package peer

import (
	"maps"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
)

// rpcPolicy is the cluster's policy of who may call which RPC method, with what peers of this
// program allow to the peers that they trust: to read the shared state (U43). The default is a map
// that all configurations of the process share (U44 in docs/upstream-faults.md), so it is
// copied.
func rpcPolicy(policy map[string]ipfscluster.RPCEndpointType) map[string]ipfscluster.RPCEndpointType {
	policy = maps.Clone(policy)
	// A client that reads at another peer what it has just written (U43):
	// clusterrpc/internal/remoteread.
	policy["Cluster.PinGet"] = ipfscluster.RPCTrusted
	return policy
}
