package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// ErrChanged is what a consensus that heeds a Condition returns when it does not hold. An error of
// another peer needs its text alone.
var ErrChanged = clusterapi.ErrChanged

// Condition is what must be true of the record that a LogPin replaces or a LogUnpin removes. Another
// peer may write to a pin between the decision of this one to change it, which no client asked for,
// and the commit. A consensus that cannot look when it commits may leave conditions out, and then
// loses such a write.
type Condition struct {
	// Version identifies the only version of the record that may be changed, at every peer.
	Version uint64
}

// WriteCondition returns the condition of a LogPin or LogUnpin of that key with the context; false:
// there is none.
func WriteCondition(ctx context.Context, key api.Cid) (c Condition, conditional bool) {
	version, conditional := clusterapi.Version(ctx, key)
	return Condition{version}, conditional
}

// Holds reports whether the condition is true of the record that the state has. Of a key without a
// record it is not.
func (c Condition) Holds(now api.Pin) bool { return pinrecord.Form(now) == c.Version }
