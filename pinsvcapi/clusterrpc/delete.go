package clusterrpc

import (
	"context"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Delete unpins.
func (b *Backend) Delete(ctx context.Context, user pinsvc.User, requestID string) error {
	c, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return clusterapi.NotFound(requestID)
	}
	if err := b.awaitKnown(ctx, user, c); err != nil {
		return err
	}
	unlock, err := b.writer.Lock(ctx, c)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := b.find(ctx, requestID)
	if err != nil {
		return err
	}
	if err := b.writer.Available(); err != nil {
		return err
	}
	return b.writer.Delete(ctx, rec)
}
