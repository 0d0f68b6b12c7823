package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// submit writes a record and returns it as it will be in the state.
func (b *Backend) submit(ctx context.Context, rec api.Pin) (api.Pin, error) {
	before, had, err := b.committed(ctx, rec.Cid)
	if err != nil {
		return api.Pin{}, err
	}
	// A pin that the cluster once made by an update would be made that way
	// again, which needs the content that it was updated from.
	rec.PinUpdate = api.CidUndef
	ctx, cancel := b.writing(ctx)
	defer cancel()
	written, err := b.cluster.pin(ctx, rec)
	if err != nil {
		return api.Pin{}, failure(err, "pin")
	}
	b.confirm(ctx, form(before, had), written, false)
	return written, nil
}

// remove takes a record out of the state. found says whether there was one.
func (b *Backend) remove(ctx context.Context, rec api.Pin) (found bool, err error) {
	before, had, err := b.committed(ctx, rec.Cid)
	if err != nil {
		return false, err
	}
	ctx, cancel := b.writing(ctx)
	defer cancel()
	switch {
	case had:
		err = b.cluster.unpin(ctx, rec.Cid)
	case b.pending.has(rec.Cid.Cid):
		// The cluster refuses to unpin what it has not committed.
		err = b.cluster.logUnpin(ctx, rec.Cid)
	default:
		return false, nil
	}
	switch {
	case isNotFound(err):
		return false, nil
	case err != nil:
		return false, failure(err, "unpin")
	}
	b.confirm(ctx, form(before, had), rec, true)
	return true, nil
}

// confirm looks whether the state shows an accepted change, and keeps the
// change in mind while it does not.
func (b *Backend) confirm(ctx context.Context, before string, rec api.Pin, gone bool) {
	b.pending.wrote(rec.Cid.Cid, before, rec, gone)
	mark := b.pending.mark()
	now, found, err := b.committed(ctx, rec.Cid)
	if err != nil {
		log.Warnf("the change of pin %s was accepted but cannot be read back: %s", rec.Cid, err)
		return
	}
	b.pending.resolve(rec.Cid.Cid, mark, now, found)
}
