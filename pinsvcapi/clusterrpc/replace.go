package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Replace puts a pin in the place of another (D6). With the same CID only the record changes.
// Another CID is pinned plainly, and the old one is unpinned once the cluster has accepted that;
// when it cannot be unpinned, the new one is rolled back, so that a failed request leaves what was
// there.
func (b *Backend) Replace(ctx context.Context, user pinsvc.User, requestID string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	old, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return pinsvc.PinStatus{}, clusterapi.NotFound(requestID)
	}
	if err := pinrecord.CheckPin(pin); err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := b.awaitKnown(ctx, user, old); err != nil {
		return pinsvc.PinStatus{}, err
	}
	unlock, err := b.writer.Lock(ctx, old, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	defer unlock()
	rec, err := b.find(ctx, requestID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if pinsvc.SamePin(rec.Cid.Cid, pin.CID) {
		return b.repin(ctx, rec, pin)
	}
	return b.replaceContent(ctx, rec, pin)
}

// replaceContent pins something else and unpins old. The caller has the locks of both.
func (b *Backend) replaceContent(ctx context.Context, old api.Pin, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	rec, found, err := b.lookUpForPin(ctx, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	var st pinsvc.PinStatus
	if found {
		st, err = b.repin(ctx, rec, pin)
	} else {
		st, err = b.pinNew(ctx, pin)
	}
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	// From here on the request may end without an effect on the change: half would be done.
	ctx = context.WithoutCancel(ctx)
	if err = b.writer.Delete(ctx, old); err == nil {
		return st, nil
	}
	if rollbackErr := b.rollback(ctx, statesync.Versioned{Rec: rec, Found: found}, pin); rollbackErr != nil {
		log.Errorf("a replacement failed and pin %s could not be rolled back: %s", pin.CID, rollbackErr)
	}
	return pinsvc.PinStatus{}, err
}

// rollback undoes the first half of a replacement whose second half failed.
func (b *Backend) rollback(ctx context.Context, prior statesync.Versioned, pin pinsvc.Pin) error {
	if !prior.Found {
		return b.writer.Delete(ctx, pinrecord.New(pinrecord.StateKey(pin.CID)))
	}
	current, err := b.syncer.Read(ctx, prior.Rec.Cid)
	if err != nil {
		return err
	}
	_, err = b.writer.Put(ctx, current, restoreRequest(prior.Rec))
	return err
}

// restoreRequest gives a record the fields of a request back that it had in prior.
func restoreRequest(prior api.Pin) statesync.Mutation {
	return func(current statesync.Versioned) statesync.Versioned {
		rec := current.Rec
		if !current.Found {
			rec = prior
		}
		rec.Name, rec.Metadata, rec.Origins = prior.Name, prior.Metadata, prior.Origins
		rec.ExpireAt, rec.Mode, rec.MaxDepth = prior.ExpireAt, prior.Mode, prior.MaxDepth
		return statesync.Versioned{Rec: rec, Found: true}
	}
}
