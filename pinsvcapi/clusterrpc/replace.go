package clusterrpc

import (
	"context"
	"slices"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Replace puts a pin in the place of another (D6). With the same CID only the record changes.
// Another CID is pinned plainly; its record names the old pin, which hides that from clients. The
// old pin is unpinned later, by any peer, once the new one is pinned: see repair.Replaced.
func (b *Backend) Replace(ctx context.Context, user pinsvc.User, requestID string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	old, ok := pinsvc.ParseRequestID(requestID)
	if !ok {
		return pinsvc.PinStatus{}, clusterapi.NotFound(requestID)
	}
	if err := pinrecord.CheckPin(pin); err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := b.awaitNewest(ctx, user, old); err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := b.remote.AwaitShown(ctx, user, pin.CID); err != nil {
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
		return b.repin(ctx, rec, pin, b.index.Names(rec))
	}
	return b.replaceContent(ctx, rec, pin)
}

// replaceContent pins something else in the place of old. The caller has the locks of both.
func (b *Backend) replaceContent(ctx context.Context, old api.Pin, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	rec, found, err := b.lookUpForPin(ctx, pin.CID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	var names []pinrecord.Replaced
	if found {
		names = b.index.Names(rec)
	}
	names, err = b.namesAfterReplacing(old, pin, names)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	var st pinsvc.PinStatus
	if found {
		st, err = b.repin(ctx, rec, pin, names)
	} else {
		st, err = b.pinNew(ctx, pin, names)
	}
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if !b.index.Hide(old) { // It was changed meanwhile.
		if _, _, err := b.syncer.Get(context.WithoutCancel(ctx), old.Cid); err != nil {
			log.Warnf("read pin %s, which was replaced by %s: %s", old.Cid, pin.CID, err)
		}
	}
	return st, nil
}

// namesAfterReplacing adds the old pin to what a pin has replaced before, and what the old pin has
// replaced itself as far as there is room: its own record names that as well.
func (b *Backend) namesAfterReplacing(old api.Pin, pin pinsvc.Pin, before []pinrecord.Replaced) ([]pinrecord.Replaced, error) {
	isNew := func(r pinrecord.Replaced) bool { return pinsvc.SamePin(r.Key, pin.CID) }
	names := slices.DeleteFunc(slices.Clone(before), isNew)
	replaced := pinrecord.Replaced{Key: old.Cid.Cid, Revision: pinrecord.RevisionOf(old)}
	if !slices.Contains(names, replaced) {
		names = append(names, replaced)
	}
	// Names that are over stay for a while, as far as there is room. The oldest go first.
	for i := 0; i < len(names) && len(names) > pinrecord.MaxReplaced; {
		if names[i] == replaced || b.index.IsKept(names[i]) {
			i++
			continue
		}
		names = slices.Delete(names, i, i+1)
	}
	if len(names) > pinrecord.MaxReplaced {
		return nil, pinsvc.Errorf(pinsvc.KindBadRequest,
			"pin %s has replaced %d pins already, and their content is kept until it is pinned; that many are the most", pin.CID, pinrecord.MaxReplaced)
	}
	for _, r := range b.index.Names(old) {
		if len(names) < pinrecord.MaxReplaced && !isNew(r) && !slices.Contains(names, r) {
			names = append(names, r)
		}
	}
	return names, nil
}
