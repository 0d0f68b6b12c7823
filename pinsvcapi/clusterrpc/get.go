package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Get returns the pin with that request ID. Of a pin that is known to be in
// flight it answers from memory, which is what clients poll for; of any other
// it reads the record and asks the peers that should hold it.
func (b *Backend) Get(ctx context.Context, user pinsvc.User, requestID string) (pinsvc.PinStatus, error) {
	c, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return pinsvc.PinStatus{}, notFound(requestID)
	}
	known, ok := b.inFlight(ctx, c)
	if ok {
		return b.present(ctx, known)
	}
	var asked <-chan struct{}
	if known.CID.Defined() {
		// The record is read meanwhile.
		asked = b.askKnown(ctx, known)
	}
	rec, err := b.find(ctx, requestID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := b.hasAsked(ctx, asked, known, rec); err != nil {
		return pinsvc.PinStatus{}, err
	}
	p, ok := b.view.Get(rec.Cid.Cid)
	if !ok {
		return pinsvc.PinStatus{}, notFound(requestID) // It went this moment.
	}
	return b.presentRecord(ctx, p, rec), nil
}

// hasAsked returns once the peers that should hold the pin of a record have
// said what they know. asked is open while those are asked that did by what
// was known; when that was nothing, or not true any more, they are asked now.
func (b *Backend) hasAsked(ctx context.Context, asked <-chan struct{}, known pinset.Pin, rec api.Pin) error {
	if asked == nil || !known.CID.Equals(rec.Cid.Cid) || known.Placement != b.places.of(rec) {
		return b.ask(ctx, rec)
	}
	select {
	case <-asked:
	case <-ctx.Done():
	}
	return given(ctx)
}

// inFlight returns the pin that the view holds, if any; ok says that something
// is still to become of it and that the view can be believed.
func (b *Backend) inFlight(ctx context.Context, c cid.Cid) (p pinset.Pin, ok bool) {
	waiting := func() (pinset.Pin, bool) {
		p, ok := b.view.Get(c)
		return p, ok && inFlight.Has(p.Status) && b.places.asked(p.Placement, p.Vector)
	}
	p, ok = waiting()
	if !ok || b.stateAway.Load() || b.Ready() != nil {
		return p, false
	}
	if b.freshen(ctx) {
		return waiting()
	}
	return p, true
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
	rec, found, err := b.feed.refresh(ctx, api.NewCid(c))
	if found || err != nil {
		return rec, found, err
	}
	other, ok := pinsvc.OtherForm(c)
	if !ok {
		return api.Pin{}, false, nil
	}
	return b.feed.refresh(ctx, api.NewCid(other))
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
	return rec, found, nil
}

// committed returns what the shared state has under a key.
func (b *Backend) committed(ctx context.Context, key api.Cid) (api.Pin, bool, error) {
	ctx, cancel := b.reading(ctx)
	defer cancel()
	rec, err := b.cluster.pinGet(ctx, key)
	switch {
	case err == nil:
		b.stateAway.Store(false)
		return rec, true, nil
	case isNotFound(err):
		b.stateAway.Store(false)
		return api.Pin{}, false, nil
	default:
		if ctx.Err() != context.Canceled {
			b.stateAway.Store(true)
		}
		return api.Pin{}, false, failure(err, "read the pin from the shared state")
	}
}
