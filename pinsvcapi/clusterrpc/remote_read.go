package clusterrpc

import (
	"context"
	"errors"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/remoteread"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/replacement"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// removalSink is the index, and notes the pins that are taken out of it.
type removalSink struct {
	*replacement.Index
	view    *pinset.View
	removed *remoteread.Removed
}

// DeleteRecord implements statesync.Sink. The syncer holds the lock of the key.
func (s removalSink) DeleteRecord(key cid.Cid) {
	if row, ok := s.view.Get(key); ok && row.CID.Equals(key) {
		s.removed.Add(row)
	}
	s.Index.DeleteRecord(key)
}

// known reports whether the view has the pin, under either form of its CID.
func (b *Backend) known(c cid.Cid) bool {
	if b.isViewed(c) {
		return true
	}
	other, ok := pinsvc.OtherForm(c)
	return ok && b.isViewed(other)
}

// look reads the state of this peer for a pin.
func (b *Backend) look(ctx context.Context, c cid.Cid) (rec api.Pin, found bool, err error) {
	rec, found, err = b.lookUp(ctx, c)
	return rec, found && pinrecord.Visible(rec) && !b.index.Hidden(rec), err
}

// awaitKnown returns nil once this peer knows the pin, which for a known one costs nothing, and
// not by a record that is older than what its clients have read. It waits for one that another
// peer has: see remoteread. It must not be called with the lock of the pin.
func (b *Backend) awaitKnown(ctx context.Context, user pinsvc.User, c cid.Cid) error {
	if known, err := b.knows(ctx, c); known || err != nil {
		return err
	}
	return b.remote.Await(ctx, user, c)
}

// awaitNewest is awaitKnown for requests that end a pin: it waits as well for a change of the pin that
// another peer has accepted and that has not reached this one.
func (b *Backend) awaitNewest(ctx context.Context, user pinsvc.User, c cid.Cid) error {
	if err := b.awaitKnown(ctx, user, c); err != nil {
		return err
	}
	key := pinrecord.StateKey(c)
	if other, ok := pinsvc.OtherForm(key); ok && !b.isViewed(key) && b.isViewed(other) {
		key = other
	}
	return b.remote.AwaitNewest(ctx, api.NewCid(key))
}

func (b *Backend) isViewed(key cid.Cid) bool {
	_, ok := b.view.Lookup(key)
	return ok
}

// has reports whether the pin of a record is in the view, as requested last in that record.
func (b *Backend) has(rec api.Pin) bool {
	row, ok := b.view.Get(rec.Cid.Cid)
	return ok && row.CID.Equals(rec.Cid.Cid) && int64(row.Written) == rec.Timestamp.Unix() &&
		row.Revision == uint16(pinrecord.RevisionOf(rec))
}

// knows reports whether this peer knows the pin, as awaitKnown says.
func (b *Backend) knows(ctx context.Context, c cid.Cid) (bool, error) {
	switch {
	case b.remote.Lags(ctx, c):
		return false, nil
	case b.known(c):
		return true, nil
	}
	_, found, err := b.look(ctx, c)
	return found, err
}

// awaitListed is awaitKnown for all CIDs of a query, at once. CIDs that no peer has are no error.
func (b *Backend) awaitListed(ctx context.Context, user pinsvc.User, cids []cid.Cid) error {
	var group errgroup.Group
	var unknown []cid.Cid
	for _, c := range cids {
		if row, ok := b.view.Get(c); ok && !b.remote.Lags(ctx, c) {
			if row.Status == pinsvc.StatusFailed {
				group.Go(func() error { return b.awaitRewritten(ctx, user, c) })
			}
			continue
		}
		known, err := b.knows(ctx, c)
		switch {
		case err != nil && pinsvc.KindOf(err) != pinsvc.KindNotFound:
			return errors.Join(err, group.Wait())
		case !known:
			unknown = append(unknown, c)
		}
	}
	group.Go(func() error { return b.remote.AwaitAll(ctx, user, unknown) })
	return group.Wait()
}

// awaitRewritten returns nil unless another peer has rewritten a pin that has failed, and the
// change does not arrive in time.
func (b *Backend) awaitRewritten(ctx context.Context, user pinsvc.User, c cid.Cid) error {
	rec, found, err := b.lookUp(ctx, c)
	if err != nil || !found {
		return err
	}
	if _, rewritten, here := b.remote.Rewritten(ctx, user, rec, b.notFailed(rec)); rewritten && !here {
		return &pinsvc.Error{
			Kind: pinsvc.KindUnavailable, RetryAfter: time.Second,
			Details: "another peer of the cluster has changed the pin, and the change has not reached this one yet",
		}
	}
	return nil
}

// failedHere is the response for a pin that has failed at what this peer knows. Clients give up
// at that, so it is not said of a record that another peer has rewritten since: a re-add starts
// the attempts anew.
func (b *Backend) failedHere(ctx context.Context, user pinsvc.User, rec api.Pin, row pinset.Pin) pinsvc.PinStatus {
	other, rewritten, here := b.remote.Rewritten(ctx, user, rec, b.notFailed(rec))
	if !rewritten {
		return b.render(ctx, row)
	}
	if row, ok := b.view.Get(rec.Cid.Cid); here && ok {
		return b.render(ctx, row)
	}
	return b.renderRecord(ctx, other)
}

// notFailed reports whether the pin of a record has not failed any more.
func (b *Backend) notFailed(rec api.Pin) func() bool {
	return func() bool {
		m, ok := b.view.Lookup(rec.Cid.Cid)
		return !ok || m.Status != pinsvc.StatusFailed
	}
}

// getElsewhere is Get for a pin that this peer does not know, or only by an old record.
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
