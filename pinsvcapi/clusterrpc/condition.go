package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statewrite"
)

// UnpinCondition returns what must be true of the record that a consensus removes in a LogUnpin with
// the context; false: nothing. Another peer may add a pin anew between the decision of this one to
// remove it, which no client asked for, and the commit. A consensus that cannot look when it commits
// may leave the condition out, and then loses such an addition. One that heeds it returns an error
// with the text "the record has changed meanwhile".
func UnpinCondition(ctx context.Context) (holds func(api.Pin) bool, conditional bool) {
	return statewrite.Condition(ctx)
}
