package clusterrpc

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Add pins a CID, or changes the record of one that is held.
func (b *Backend) Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if err := checkPin(pin); err != nil {
		return pinsvc.PinStatus{}, err
	}
	unlock, err := b.locks.lock(ctx, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	defer unlock()
	rec, there, err := b.lookUp(ctx, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if there {
		return b.repin(ctx, rec, pin)
	}
	return b.pinNew(ctx, pin)
}

// pinNew makes a pin that the cluster does not hold. The caller has the lock.
func (b *Backend) pinNew(ctx context.Context, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if err := b.writable(); err != nil {
		return pinsvc.PinStatus{}, err
	}
	rec := asked(newRecord(pin), pin)
	peers, err := b.placesFor(ctx, rec)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	delegates, err := b.delegatesFor(ctx, peers)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if !b.plainEverywhere.Load() {
		rec.Allocations = peers // The cluster drops them if it pins everywhere.
	}
	b.creation.saw(time.UnixMilli(b.view.Latest()))
	stamp(rec, b.creation.next())
	rec, err = b.submit(ctx, held{}, rec)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	// What this peer's configuration says does not change while it runs.
	b.plainEverywhere.Store(rec.IsPinEverywhere())
	return b.accepted(ctx, rec, delegates)
}

// accepted is the answer about a record that was just written.
func (b *Backend) accepted(ctx context.Context, rec api.Pin, delegates []string) (pinsvc.PinStatus, error) {
	p, ok := b.view.Get(rec.Cid.Cid)
	if !ok {
		// Another peer was so fast that it is gone again.
		p = b.ledger.entry(rec)
	}
	if p.Origins != 0 || p.ExpiresAt != 0 {
		_, mark, _ := b.extras.get(p.CID)
		b.extras.put(p.CID, extraOf(rec), mark)
	}
	st := b.presentRecord(ctx, p, rec)
	st.Delegates = delegates
	return st, nil
}

// repin changes the record of a pin that the cluster holds to what is asked
// for. The caller has the lock.
func (b *Backend) repin(ctx context.Context, old api.Pin, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if !visible(old) {
		return pinsvc.PinStatus{}, pinsvc.Errorf(pinsvc.KindBadRequest,
			"the CID is a part of sharded content that the cluster holds, and cannot be pinned by itself")
	}
	if err := b.writable(); err != nil {
		return pinsvc.PinStatus{}, err
	}
	if p, ok := b.view.Get(old.Cid.Cid); ok && p.Status != pinsvc.StatusPinned {
		// A pin that was never asked about may well be pinned.
		if err := b.ask(ctx, old); err != nil {
			return pinsvc.PinStatus{}, err
		}
	}
	rec := asked(old, pin)
	if rec.ExpiredAt(b.opts.Now()) {
		rec.ExpireAt = time.Time{} // It was about to go, and is wanted again.
	}
	rec, peers, err := b.reallocated(ctx, rec, b.places.memberIDs())
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	delegates, err := b.delegatesFor(ctx, peers)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	stamp(rec, b.createdOf(old))
	rec, err = b.submit(ctx, held{old, true}, rec)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	return b.accepted(ctx, rec, delegates)
}

// createdOf is when the pin of a record was made: the view knows it when
// another tool has wiped it from the record.
func (b *Backend) createdOf(rec api.Pin) time.Time {
	if p, ok := b.view.Get(rec.Cid.Cid); ok && p.Stamped && p.CID.Equals(rec.Cid.Cid) {
		return p.Created
	}
	created, _ := createdOf(rec)
	return created
}

// placesFor are the peers that a new record is to be on, as the cluster
// chooses them; nothing is to be chosen when it pins everywhere.
func (b *Backend) placesFor(ctx context.Context, rec api.Pin) ([]peer.ID, error) {
	if !b.plainEverywhere.Load() {
		return b.allocate(ctx, rec)
	}
	members := b.places.memberIDs()
	return slices.DeleteFunc(members, b.away.now), nil
}

// allocate asks which peers should hold a record, and whether the cluster
// would take it at all.
func (b *Backend) allocate(ctx context.Context, rec api.Pin) ([]peer.ID, error) {
	ctx, cancel := b.reading(ctx)
	defer cancel()
	rec.Allocations = nil
	peers, err := b.cluster.allocate(ctx, rec)
	if err != nil {
		return nil, failure(err, "choose the peers to hold the pin")
	}
	return slices.Clone(peers), nil
}

// reallocated returns a record that is held already with the peers that
// should hold it. They stay the same, save that peers which have left are
// replaced as the cluster sees fit; when it has none to replace them, that is
// no reason not to change a name.
func (b *Backend) reallocated(ctx context.Context, rec api.Pin, members []peer.ID) (api.Pin, []peer.ID, error) {
	if everywhere(rec) {
		return rec, members, nil
	}
	gone := func(p peer.ID) bool { return !slices.Contains(members, p) }
	if len(rec.Allocations) > 0 && !slices.ContainsFunc(rec.Allocations, gone) {
		return rec, rec.Allocations, nil
	}
	peers, err := b.allocate(ctx, rec)
	var told *pinsvc.Error
	switch {
	case err == nil:
		rec.Allocations = peers
	case len(rec.Allocations) == 0, errors.As(err, &told) && told.Kind != pinsvc.KindUnavailable:
		return rec, nil, err
	}
	return rec, rec.Allocations, nil
}

// delegatesFor returns the delegates of a POST: addresses of the peers that
// will hold the pin. Without one nothing may be pinned, because the client
// could not hand the content over.
func (b *Backend) delegatesFor(ctx context.Context, peers []peer.ID) ([]string, error) {
	delegates := b.delegates.of(ctx, peers)
	if len(delegates) == 0 {
		return nil, pinsvc.Errorf(pinsvc.KindUnavailable,
			"no address is known of the IPFS nodes that should hold the pin; they have not been reached since this peer started")
	}
	return delegates, nil
}
