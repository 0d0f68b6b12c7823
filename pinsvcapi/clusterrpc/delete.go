package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

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
	if p, ok := b.view.Get(c); ok {
		// The cluster itself says whether the view is right.
		if found, err := b.remove(ctx, api.NewCid(p.CID)); found || err != nil {
			return err
		}
	}
	rec, err := b.find(ctx, requestID)
	if err != nil {
		return err
	}
	found, err := b.remove(ctx, rec.Cid)
	if err == nil && !found {
		return notFound(requestID)
	}
	return err
}
