package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/span"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Get returns the pin with that request ID. A pin that is known to be unsettled, which is
// what clients poll for, and a pinned one that was confirmed not long ago, are returned from
// memory; for any other pin the record is read and the peers that should hold the pin are
// polled. If the record cannot be read, the pin is returned as it was known last, unless it has failed. A pin that
// this peer does not know is asked for at the other peers.
func (b *Backend) Get(ctx context.Context, user pinsvc.User, requestID string) (pinsvc.PinStatus, error) {
	c, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return pinsvc.PinStatus{}, clusterapi.NotFound(requestID)
	}
	if b.remote.Lags(ctx, c) {
		return b.getElsewhere(ctx, user, c)
	}
	row, ok := b.fromMemory(ctx, c)
	if ok {
		return b.render(ctx, row), nil
	}
	var polled <-chan struct{}
	if row.CID.Defined() {
		polled = b.poller.Row(ctx, row) // The record is read meanwhile.
	}
	rec, err := b.find(ctx, requestID)
	if pinsvc.KindOf(err) == pinsvc.KindNotFound {
		return b.getElsewhere(ctx, user, c)
	}
	if err != nil {
		return b.lastKnown(ctx, polled, row, err)
	}
	if err := b.awaitPoll(ctx, polled, row, rec); err != nil {
		return pinsvc.PinStatus{}, err
	}
	row, ok = b.view.Get(rec.Cid.Cid)
	if !ok {
		return pinsvc.PinStatus{}, clusterapi.NotFound(requestID) // It was removed this moment.
	}
	if row.Status == pinsvc.StatusFailed {
		return b.failedHere(ctx, user, rec, row), nil
	}
	return b.render(ctx, row), nil
}

// lastKnown returns the pin of a row whose record cannot be read, as a list does: with a full disk or a state that
// fails, what is known stays readable. It returns err for a pin that is not known, when the request itself ends, and
// for one that has failed: clients give up at that, and the record that cannot be read may be another one since.
// polled, if any, is closed when the poll of the row ends.
func (b *Backend) lastKnown(ctx context.Context, polled <-chan struct{}, row pinset.Pin, err error) (pinsvc.PinStatus, error) {
	if !row.CID.Defined() || pinsvc.KindOf(err) != pinsvc.KindUnavailable {
		return pinsvc.PinStatus{}, err
	}
	if polled != nil {
		select {
		case <-polled:
		case <-ctx.Done():
		}
	}
	row, ok := b.view.Get(row.CID)
	if !ok || ctx.Err() != nil || row.Status == pinsvc.StatusFailed {
		return pinsvc.PinStatus{}, err
	}
	return b.render(ctx, row), nil
}

// awaitPoll returns once the peers that should hold the pin of a record were polled. polled is
// closed when the poll started from the cached placement ends. If there was none, or the
// placement has changed, the holders are polled now.
func (b *Backend) awaitPoll(ctx context.Context, polled <-chan struct{}, row pinset.Pin, rec api.Pin) error {
	ctx, end := span.Start(ctx, "poll")
	defer end()
	if polled == nil || !row.CID.Equals(rec.Cid.Cid) || row.Placement != b.tracker.PlacementOf(rec) {
		b.poller.Record(ctx, rec)
		return contextError(ctx)
	}
	select {
	case <-polled:
	case <-ctx.Done():
	}
	return contextError(ctx)
}

// contextError is the failure of a request that was cancelled, or nil.
func contextError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return clusterapi.Failure(err, "poll for the status of the pin")
	}
	return nil
}

// fromMemory returns the row of the view, if any; ok reports whether its status can be returned
// from memory.
func (b *Backend) fromMemory(ctx context.Context, c cid.Cid) (row pinset.Pin, ok bool) {
	row, ok = b.view.Get(c)
	switch {
	case !ok, b.syncer.Behind(row.CID), b.Ready() != nil:
		return row, false
	case !peerstatus.Active.Has(row.Status):
		return row, b.poller.Confirmed(row)
	case !b.tracker.Observed(row.Placement, row.Vector):
		return row, false
	}
	young := b.poller.Young(ctx, row)
	if active := b.poller.Active(ctx); young || active {
		row, ok = b.view.Get(c)
		return row, ok && (peerstatus.Active.Has(row.Status) || b.poller.Confirmed(row))
	}
	return row, true
}

// find returns the record that a request ID names, or KindNotFound.
func (b *Backend) find(ctx context.Context, requestID string) (api.Pin, error) {
	c, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return api.Pin{}, clusterapi.NotFound(requestID)
	}
	rec, found, err := b.lookUp(ctx, c)
	if err != nil {
		return api.Pin{}, err
	}
	if !found || !pinrecord.Visible(rec) || b.index.Hidden(rec) {
		return api.Pin{}, clusterapi.NotFound(requestID)
	}
	return rec, nil
}

// lookUp returns the record of a CID in this or its other form. The record may be one that
// clients do not see.
func (b *Backend) lookUp(ctx context.Context, c cid.Cid) (api.Pin, bool, error) {
	return b.lookUpForms(ctx, c, true)
}

// lookUpForPin is lookUp for a pin that is made if there is none. It reads one record where
// the view follows the state: a record under the other form of the CID would be in the view,
// unless another pin has replaced it.
func (b *Backend) lookUpForPin(ctx context.Context, c cid.Cid) (api.Pin, bool, error) {
	both := b.opts.Events == nil
	if other, ok := pinsvc.OtherForm(pinrecord.StateKey(c)); ok && !both {
		both = b.index.Withholds(other)
	}
	return b.lookUpForms(ctx, c, both)
}

// lookUpForms reads the record under the key that the view has, else under that of a new pin,
// and under the other form of the CID if both are to be read or the view was wrong.
func (b *Backend) lookUpForms(ctx context.Context, c cid.Cid, both bool) (api.Pin, bool, error) {
	ctx, end := span.Start(ctx, "read_state")
	defer end()
	key := pinrecord.StateKey(c)
	if row, ok := b.view.Get(c); ok {
		key, both = row.CID, true
	}
	rec, found, err := b.syncer.Get(ctx, api.NewCid(key))
	if found || err != nil || !both {
		return rec, found, err
	}
	other, ok := pinsvc.OtherForm(key)
	if !ok {
		return api.Pin{}, false, nil
	}
	return b.syncer.Get(ctx, api.NewCid(other))
}
