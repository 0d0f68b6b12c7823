package clustertest

import (
	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// ConditionOn is true of that version of a record alone: what a consensus is given with a change of it.
func ConditionOn(rec api.Pin) clusterrpc.Condition {
	return clusterrpc.Condition{Version: pinrecord.Form(rec)}
}
