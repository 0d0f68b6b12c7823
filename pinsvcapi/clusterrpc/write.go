package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// submit writes a record and returns it as it will be in the state. before is
// what this peer has read under its key.
func (b *Backend) submit(ctx context.Context, before held, rec api.Pin) (api.Pin, error) {
	// A pin that the cluster once made by an update would be made that way
	// again, which needs the content that it was updated from.
	rec.PinUpdate = api.CidUndef
	ctx, cancel := b.writing(ctx)
	defer cancel()
	written, err := b.cluster.pin(ctx, rec)
	if err != nil {
		return api.Pin{}, b.notChanged(err, "pin")
	}
	b.feed.wrote(ctx, before, written, false)
	return written, nil
}

// remove takes what is under a key out of the state. found says whether there
// was anything.
func (b *Backend) remove(ctx context.Context, key api.Cid) (found bool, err error) {
	ctx, cancel := b.writing(ctx)
	defer cancel()
	underway := b.pending.underway(key.Cid)
	removed, err := b.cluster.unpin(ctx, key)
	before := held{removed, true}
	if isNotFound(err) && len(underway) > 0 {
		// The cluster refuses to unpin what it has not committed.
		before = held{}
		err = b.cluster.logUnpin(ctx, key)
	}
	switch {
	case isNotFound(err):
		_, _, err = b.feed.refresh(ctx, key) // The view was behind.
		return false, err
	case err != nil:
		return false, b.notChanged(err, "unpin")
	}
	b.feed.wrote(ctx, before, api.PinCid(key), true, underway...)
	return true, nil
}

// notChanged is failure for a change. The cluster itself waits a moment for a
// consensus that is away, and then says something else.
func (b *Backend) notChanged(err error, doing string) error {
	switch causeOf(err.Error()) {
	case causeOther, causeTooSlow, causeStalled:
		if away := b.consensusAway(); away != nil {
			return away
		}
	}
	return failure(err, doing)
}
