package peer

import "github.com/ipfs-cluster/ipfs-cluster/version"

// ClusterVersion is the version of IPFS Cluster that the peer is built from and
// reports to other peers and in the REST API.
func ClusterVersion() string { return version.Version.String() }
