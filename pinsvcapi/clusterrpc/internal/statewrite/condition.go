package statewrite

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// conditionKey is the key of the form of the record that a removal is of.
type conditionKey struct{}

// onlyOf is the context of a call that removes one version of a pin. The calls of this process keep
// the values of their context.
func onlyOf(ctx context.Context, rec api.Pin) context.Context {
	return context.WithValue(ctx, conditionKey{}, pinrecord.Form(rec))
}

// Condition returns what must be true of the record that is removed by a call with the context;
// false: nothing.
func Condition(ctx context.Context) (holds func(api.Pin) bool, conditional bool) {
	form, conditional := ctx.Value(conditionKey{}).(uint64)
	return func(now api.Pin) bool { return pinrecord.Form(now) == form }, conditional
}
