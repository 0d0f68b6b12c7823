package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Replace puts a pin in the place of another (D6). With the same CID only the
// record changes. Another CID is pinned plainly, and the old one is given up
// once the cluster has accepted that; when it cannot be given up, the new one
// is taken back, so that a failed request leaves what was there.
func (b *Backend) Replace(ctx context.Context, user pinsvc.User, requestID string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	old, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return pinsvc.PinStatus{}, notFound(requestID)
	}
	if err := checkPin(pin); err != nil {
		return pinsvc.PinStatus{}, err
	}
	unlock, err := b.locks.lock(ctx, old, pin.CID)
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
	return b.exchange(ctx, rec, pin)
}

// exchange pins something else and gives old up. The caller has the locks of
// both.
func (b *Backend) exchange(ctx context.Context, old api.Pin, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	prior, there, err := b.lookUp(ctx, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	var st pinsvc.PinStatus
	if there {
		st, err = b.repin(ctx, prior, pin)
	} else {
		st, err = b.pinNew(ctx, pin)
	}
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	// From here on the client's patience does not count: half would be done.
	ctx = context.WithoutCancel(ctx)
	found, err := b.remove(ctx, old.Cid)
	if err == nil && found {
		return st, nil
	}
	if err == nil {
		err = notFound(requestID(old)) // Another peer was faster.
	}
	b.takeBack(ctx, prior, there, pin)
	return pinsvc.PinStatus{}, err
}

// takeBack undoes the first half of an exchange whose second half failed.
func (b *Backend) takeBack(ctx context.Context, prior api.Pin, there bool, pin pinsvc.Pin) {
	err := func() error {
		if !there {
			_, err := b.remove(ctx, api.NewCid(pin.CID))
			return err
		}
		now, found, err := b.record(ctx, prior.Cid)
		if err == nil {
			_, err = b.submit(ctx, held{now, found}, prior)
		}
		return err
	}()
	if err != nil {
		log.Errorf("a replacement failed and pin %s could not be taken back: %s", pin.CID, err)
	}
}
