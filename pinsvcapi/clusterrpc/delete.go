package clusterrpc

import (
	"context"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Delete gives up a pin.
func (b *Backend) Delete(ctx context.Context, user pinsvc.User, requestID string) error {
	c, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return notFound(requestID)
	}
	unlock, err := b.locks.lock(ctx, c)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := b.find(ctx, requestID)
	if err != nil {
		return err
	}
	found, err := b.remove(ctx, rec)
	if err == nil && !found {
		return notFound(requestID)
	}
	return err
}
