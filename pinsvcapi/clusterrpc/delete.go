package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

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
	if row, ok := b.view.Get(c); ok {
		// Check in the cluster itself whether the view is right.
		if found, err := b.remove(ctx, api.NewCid(row.CID)); found || err != nil {
			return err
		}
	}
	rec, err := b.find(ctx, requestID)
	if err != nil {
		return err
	}
	found, err := b.remove(ctx, rec.Cid)
	if err == nil && !found {
		return clusterapi.NotFound(requestID)
	}
	return err
}

// remove takes what is under a key out of the state.
func (b *Backend) remove(ctx context.Context, key api.Cid) (found bool, err error) {
	if err := b.writer.Available(); err != nil {
		return false, err
	}
	return b.writer.Delete(ctx, key)
}
