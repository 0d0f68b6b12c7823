package clusterrpc

import (
	"context"
	"slices"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/replacement"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Delete unpins, and unpins with it what the pin has replaced and no other pin keeps. That comes
// first: when it ends half-way, the same request again does the rest.
func (b *Backend) Delete(ctx context.Context, user pinsvc.User, requestID string) error {
	c, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return clusterapi.NotFound(requestID)
	}
	await := b.awaitNewest
	if b.opts.Leader != nil {
		await = b.awaitKnown // The removal comes after all changes that the leader has.
	}
	if err := await(ctx, user, c); err != nil {
		return err
	}
	if err := b.readReplaced(ctx, user, c, await); err != nil {
		return err
	}
	unlock, err := b.lockWithKept(ctx, c)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := b.removable(ctx, requestID, c)
	if err != nil {
		return err
	}
	if err := b.writer.Available(); err != nil {
		return err
	}
	for _, kept := range b.index.KeptOnlyBy(rec.Cid.Cid) {
		if err := b.release(ctx, kept); err != nil {
			return err
		}
	}
	return b.writer.Delete(ctx, rec)
}

// readReplaced reads the records without which it is not known what a pin keeps: it was renamed before
// it was replaced, and news of one of the two has just come, or is still to come. What is not known to be
// kept would not be unpinned, and would show again.
func (b *Backend) readReplaced(
	ctx context.Context, user pinsvc.User, c cid.Cid, await func(context.Context, pinsvc.User, cid.Cid) error,
) error {
	read := make(map[cid.Cid]bool)
	for {
		unread := b.index.Unread(c)
		if other, ok := pinsvc.OtherForm(c); ok {
			unread = append(unread, b.index.Unread(other)...)
		}
		i := slices.IndexFunc(unread, func(u replacement.Unread) bool { return !read[u.Key] })
		if i < 0 {
			return nil
		}
		next := unread[i]
		read[next.Key] = true
		if next.Behind {
			if err := await(ctx, user, next.Key); err != nil {
				return err
			}
		}
		if _, _, err := b.syncer.Get(ctx, api.NewCid(next.Key)); err != nil {
			return err
		}
	}
}

// release unpins what a pin has replaced, unless it was requested anew since. The caller has its lock.
func (b *Backend) release(ctx context.Context, kept pinrecord.Replaced) error {
	for range 2 {
		now, err := b.syncer.Read(ctx, api.NewCid(kept.Key))
		if err != nil || !now.Found || pinrecord.RevisionOf(now.Rec) != kept.Revision {
			return err
		}
		if deleted, err := b.writer.DeleteVersion(ctx, now.Rec); deleted || err != nil {
			return err
		}
		// It was changed meanwhile, by a repair of its metadata for example.
	}
	// A Raft leader that is ipfs-cluster-service compares nothing, and says so.
	now, err := b.syncer.Read(ctx, api.NewCid(kept.Key))
	if err != nil || !now.Found || pinrecord.RevisionOf(now.Rec) != kept.Revision {
		return err
	}
	return b.writer.Delete(ctx, now.Rec)
}

// removable returns the record to be removed, of which the CID and the type are needed. A pin that
// is in the view, with no news of it, is not read: should another peer have removed it meanwhile,
// there is nothing to remove in the commit.
func (b *Backend) removable(ctx context.Context, requestID string, c cid.Cid) (api.Pin, error) {
	row, ok := b.view.Get(c)
	switch {
	case !ok, row.Sharded, !b.opts.WaitsForCommit, b.opts.Events == nil, b.syncer.Behind(row.CID), b.Ready() != nil:
		return b.find(ctx, requestID)
	}
	return api.PinCid(api.NewCid(row.CID)), nil
}

// lockWithKept takes the locks of a pin and of what it has replaced.
func (b *Backend) lockWithKept(ctx context.Context, c cid.Cid) (unlock func(), err error) {
	for {
		keys := append(b.keptOf(c), c)
		unlock, err := b.writer.Lock(ctx, keys...)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(b.keptOf(c), func(kept cid.Cid) bool { return !slices.Contains(keys, kept) }) {
			return unlock, nil
		}
		unlock() // It has replaced another meanwhile.
	}
}

// keptOf are the keys of what a pin has replaced and keeps.
func (b *Backend) keptOf(c cid.Cid) []cid.Cid {
	kept := b.index.Kept(c)
	if other, ok := pinsvc.OtherForm(c); ok {
		kept = append(kept, b.index.Kept(other)...)
	}
	return kept
}
