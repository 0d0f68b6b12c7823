package clusterapi

import (
	"context"
	"errors"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// ErrChanged is the error of a write to one version of a record that found another one. At other peers
// its text counts: see IsChanged.
var ErrChanged = errors.New("the record has changed meanwhile")

// condition is the version of the record that a call may replace or remove.
type condition struct {
	key     api.Cid
	version uint64
}

type conditionKey struct{}

// OnlyVersion is the context of a call that changes one version of a record, by its pinrecord.Form. The
// calls of this process keep the values of their context. The condition is of that key alone: to
// remove a sharded pin the cluster also removes records of other keys.
func OnlyVersion(ctx context.Context, key api.Cid, version uint64) context.Context {
	return context.WithValue(ctx, conditionKey{}, condition{key, version})
}

// Version returns the version of a record that a call with the context may change; false: any.
func Version(ctx context.Context, key api.Cid) (version uint64, conditional bool) {
	c, ok := ctx.Value(conditionKey{}).(condition)
	if !ok || !c.key.Equals(key) {
		return 0, false
	}
	return c.version, true
}
