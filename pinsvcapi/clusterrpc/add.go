package clusterrpc

import (
	"context"
	"maps"
	"slices"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Add pins a CID, or changes the record of one that is held.
func (b *Backend) Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if err := pinrecord.CheckPin(pin); err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := b.remote.AwaitShown(ctx, user, pin.CID); err != nil {
		return pinsvc.PinStatus{}, err
	}
	unlock, err := b.writer.Lock(ctx, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	defer unlock()
	rec, found, err := b.lookUpForPin(ctx, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if found {
		return b.repin(ctx, rec, pin, b.index.Names(rec))
	}
	return b.pinNew(ctx, pin, nil)
}

// pinNew makes a pin that the cluster does not hold and that has replaced others. The caller
// has the lock.
func (b *Backend) pinNew(ctx context.Context, pin pinsvc.Pin, replaces []pinrecord.Replaced) (pinsvc.PinStatus, error) {
	if err := b.writer.Available(); err != nil {
		return pinsvc.PinStatus{}, err
	}
	req := pinRequest{key: api.NewCid(pinrecord.StateKey(pin.CID)), pin: pin, replaces: replaces, now: b.opts.Now()}
	holders, err := b.holdersForNew(ctx)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	delegates, err := b.delegatesForPost(ctx, holders)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if !b.pinsEverywhere.Load() {
		req.allocations = holders // The cluster drops them if it pins everywhere.
	}
	req.created = b.clock.Next()
	rec, err := b.writer.Put(ctx, statesync.Versioned{}, req.mutation())
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	// The configuration of this peer does not change while it runs.
	b.pinsEverywhere.Store(rec.IsPinEverywhere())
	return b.accepted(rec, pin, delegates), nil
}

// repin changes the record of a pin that the cluster holds and that has replaced others to what
// is requested. A pin that was replaced itself is made anew. The caller has the lock.
func (b *Backend) repin(ctx context.Context, old api.Pin, pin pinsvc.Pin, replaces []pinrecord.Replaced) (pinsvc.PinStatus, error) {
	if !pinrecord.Visible(old) {
		return pinsvc.PinStatus{}, pinsvc.Errorf(pinsvc.KindBadRequest, clusterapi.DetailsShard)
	}
	if err := b.writer.Available(); err != nil {
		return pinsvc.PinStatus{}, err
	}
	before := statesync.Versioned{Rec: old, Found: true}
	req := pinRequest{key: old.Cid, pin: pin, replaces: replaces, replaced: b.index.Hidden(old), now: b.opts.Now()}
	if req.replaced {
		req.created = b.clock.Next()
	} else {
		req.created, req.revision = b.createdOf(old), b.clock.Next()
	}
	allocations, holders, err := b.reallocate(ctx, req.mutation()(before).Rec)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	delegates, err := b.delegatesForPost(ctx, holders)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	req.allocations = allocations
	rec, err := b.writer.Put(ctx, before, req.mutation())
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	return b.accepted(rec, pin, delegates), nil
}

// accepted is the response for a record that was just written: with what was written, whatever
// else was by the time of the response. An earlier write that failed may take effect after it, and
// another peer may have changed or removed the pin already. The status is what this peer knows: nobody
// is asked.
func (b *Backend) accepted(rec api.Pin, pin pinsvc.Pin, delegates []string) pinsvc.PinStatus {
	written := b.tracker.Row(rec)
	row, ok := b.view.Get(rec.Cid.Cid)
	if ok = ok && b.shows(row, written, pin); !ok {
		row = written
	}
	st := b.renderWith(row, delegates)
	if !ok {
		st.Pin.Origins, st.RawOrigins = pin.Origins, ""
	}
	return st
}

// shows reports whether clients see of a row what was written on a request.
func (b *Backend) shows(row, written pinset.Pin, asked pinsvc.Pin) bool {
	var origins []multiaddr.Multiaddr
	if set := b.tracker.OriginSet(row.Origins); set != nil {
		origins = set.Addrs
	}
	return row.Name == written.Name && maps.Equal(row.Meta, written.Meta) &&
		row.Created.UnixMilli() == written.Created.UnixMilli() && row.ExpiresAt == written.ExpiresAt &&
		row.OtherFormRequested == written.OtherFormRequested &&
		slices.EqualFunc(origins, asked.Origins, multiaddr.Multiaddr.Equal)
}

// delegatesForPost returns the addresses of the peers that will hold the pin. Without one nothing
// may be pinned, because the client could not hand the content over.
func (b *Backend) delegatesForPost(ctx context.Context, holders []peer.ID) ([]string, error) {
	delegates := b.delegates.For(ctx, holders)
	if len(delegates) == 0 {
		return nil, pinsvc.Errorf(pinsvc.KindUnavailable,
			"no address is known of the IPFS nodes that should hold the pin; they were not reachable since this peer started")
	}
	return delegates, nil
}
