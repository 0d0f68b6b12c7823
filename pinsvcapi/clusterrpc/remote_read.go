package clusterrpc

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/remoteread"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// removalSink is the tracker, and notes the pins that are taken out of it.
type removalSink struct {
	*peerstatus.Tracker
	view    *pinset.View
	removed *remoteread.Removed
}

// DeleteRecord implements statesync.Sink. The syncer holds the lock of the key.
func (s removalSink) DeleteRecord(key cid.Cid) {
	if row, ok := s.view.Get(key); ok && row.CID.Equals(key) {
		s.removed.Add(row)
	}
	s.Tracker.DeleteRecord(key)
}

// known reports whether the view has the pin, under either form of its CID.
func (b *Backend) known(c cid.Cid) bool {
	if _, ok := b.view.Lookup(c); ok {
		return true
	}
	other, ok := pinsvc.OtherForm(c)
	if ok {
		_, ok = b.view.Lookup(other)
	}
	return ok
}

// look reads the state of this peer for a pin.
func (b *Backend) look(ctx context.Context, c cid.Cid) (bool, error) {
	rec, found, err := b.lookUp(ctx, c)
	return found && pinrecord.Visible(rec), err
}

// awaitKnown returns nil once this peer knows the pin, which for a known one costs nothing. It
// waits for one that another peer has: see remoteread. It must not be called with the lock of
// the pin.
func (b *Backend) awaitKnown(ctx context.Context, user pinsvc.User, c cid.Cid) error {
	if b.known(c) {
		return nil
	}
	if found, err := b.look(ctx, c); found || err != nil {
		return err
	}
	return b.remote.Await(ctx, user, c)
}

// awaitListed is awaitKnown for all CIDs of a query, at once. CIDs that no peer has are no error.
func (b *Backend) awaitListed(ctx context.Context, user pinsvc.User, cids []cid.Cid) error {
	var group errgroup.Group
	for _, c := range cids {
		if b.known(c) {
			continue
		}
		group.Go(func() error {
			err := b.awaitKnown(ctx, user, c)
			if err != nil && pinsvc.KindOf(err) == pinsvc.KindNotFound {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

// getElsewhere is Get for a pin that this peer does not know.
func (b *Backend) getElsewhere(ctx context.Context, user pinsvc.User, c cid.Cid) (pinsvc.PinStatus, error) {
	rec, elsewhere, err := b.remote.Find(ctx, user, c)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if elsewhere {
		return b.renderRecord(ctx, rec), nil
	}
	if rec, err = b.find(ctx, c.String()); err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := b.awaitPoll(ctx, nil, pinset.Pin{}, rec); err != nil {
		return pinsvc.PinStatus{}, err
	}
	row, ok := b.view.Get(rec.Cid.Cid)
	if !ok {
		return pinsvc.PinStatus{}, clusterapi.NotFound(c.String())
	}
	return b.render(ctx, row), nil
}

// renderRecord makes the response for a record that is not in the view. Nobody has reported on
// the pin, so it is queued.
func (b *Backend) renderRecord(ctx context.Context, rec api.Pin) pinsvc.PinStatus {
	st := b.render(ctx, b.tracker.Row(rec))
	st.Pin.Origins, st.RawOrigins = nil, ""
	for _, origin := range rec.Origins {
		st.Pin.Origins = append(st.Pin.Origins, origin.Value())
	}
	return st
}
