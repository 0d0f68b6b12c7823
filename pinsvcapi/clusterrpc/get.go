package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Get returns the pin with that request ID, with the status of this moment.
func (b *Backend) Get(ctx context.Context, user pinsvc.User, requestID string) (pinsvc.PinStatus, error) {
	rec, err := b.find(ctx, requestID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	members, err := b.members(ctx)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	return b.present(ctx, rec, members)
}

// present puts the answer about a record together.
func (b *Backend) present(ctx context.Context, rec api.Pin, members []peer.ID) (pinsvc.PinStatus, error) {
	v, err := b.status(ctx, rec, members)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	return b.presentAs(ctx, rec, members, v), nil
}

// presentAs is present with a status that is known.
func (b *Backend) presentAs(ctx context.Context, rec api.Pin, members []peer.ID, v verdict) pinsvc.PinStatus {
	delegates := b.delegates.of(ctx, holders(rec, members))
	if len(delegates) == 0 {
		// Only the answer to a POST is used to connect; it insists on the
		// holders. Everywhere else the field must just not be empty, and
		// every node of the cluster can pass blocks on.
		delegates = b.delegates.of(ctx, []peer.ID{b.self})
	}
	return toStatus(rec, v, delegates)
}

// find returns the record that a request ID names, or KindNotFound.
func (b *Backend) find(ctx context.Context, requestID string) (api.Pin, error) {
	c, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return api.Pin{}, notFound(requestID)
	}
	rec, found, err := b.lookUp(ctx, c)
	if err != nil {
		return api.Pin{}, err
	}
	if !found || !visible(rec) {
		return api.Pin{}, notFound(requestID)
	}
	return rec, nil
}

// lookUp returns the record of a CID in this or its other form. The record
// may be one that clients do not see.
func (b *Backend) lookUp(ctx context.Context, c cid.Cid) (api.Pin, bool, error) {
	rec, found, err := b.record(ctx, api.NewCid(c))
	if found || err != nil {
		return rec, found, err
	}
	other, ok := pinsvc.OtherForm(c)
	if !ok {
		return api.Pin{}, false, nil
	}
	return b.record(ctx, api.NewCid(other))
}

// record returns what is under a state key, with what this peer has changed
// and the state does not show yet.
func (b *Backend) record(ctx context.Context, key api.Cid) (api.Pin, bool, error) {
	mark := b.pending.mark()
	rec, found, err := b.committed(ctx, key)
	if err != nil {
		return api.Pin{}, false, err
	}
	rec, found = b.pending.resolve(key.Cid, mark, rec, found)
	if found {
		created, _ := createdOf(rec)
		b.creation.saw(created)
	}
	return rec, found, nil
}

// committed returns what the shared state has under a key.
func (b *Backend) committed(ctx context.Context, key api.Cid) (api.Pin, bool, error) {
	ctx, cancel := b.reading(ctx)
	defer cancel()
	rec, err := b.cluster.pinGet(ctx, key)
	switch {
	case err == nil:
		return rec, true, nil
	case isNotFound(err):
		return api.Pin{}, false, nil
	default:
		return api.Pin{}, false, failure(err, "read the pin from the shared state")
	}
}
