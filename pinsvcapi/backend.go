package pinsvcapi

import "github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"

// Backend is all that the component needs from a cluster.
type Backend = pinsvc.Backend
