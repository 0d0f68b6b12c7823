package clusterrpc

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/span"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// createdOf is the creation time of the pin of a record: the view knows it when another tool has
// removed it from the record.
func (b *Backend) createdOf(rec api.Pin) time.Time {
	if row, ok := b.view.Get(rec.Cid.Cid); ok && row.Stamped && row.CID.Equals(rec.Cid.Cid) {
		return row.Created
	}
	created, _ := pinrecord.CreatedOf(rec)
	return created
}

// holdersForNew are the peers that should hold a new pin, as the cluster chooses them; nothing
// is chosen when it pins everywhere. New pins of the service all have the same options, so that
// the cluster's choice holds for any of them: see choices.
func (b *Backend) holdersForNew(ctx context.Context) ([]peer.ID, error) {
	if b.pinsEverywhere.Load() {
		return slices.DeleteFunc(b.tracker.Members(), b.poller.Breaker().Open), nil
	}
	if holders, ok := b.choices.next(b.opts.Now()); ok {
		return holders, nil
	}
	holders, err := b.allocate(ctx, api.PinWithOpts(api.CidUndef, api.PinOptions{}))
	if err == nil {
		b.choices.add(holders, b.opts.Now())
	}
	return holders, err
}

// allocate has the cluster choose the peers that should hold a record. The cluster makes all the
// checks of a pin on the way.
func (b *Backend) allocate(ctx context.Context, rec api.Pin) ([]peer.ID, error) {
	ctx, end := span.Start(ctx, "allocate")
	defer end()
	call, cancel := context.WithTimeout(ctx, b.opts.StateTimeout)
	defer cancel()
	rec.Allocations = nil
	peers, err := b.cluster.Allocate(call, rec)
	if err != nil {
		return nil, b.allocationFailure(ctx, err)
	}
	return slices.Clone(peers), nil
}

// allocationFailure distinguishes a lack of peers from a lack of free space (the cluster's error
// is the same: U25 in docs/upstream-faults.md), and from an IPFS node of this peer that is
// unavailable and so reports no space.
func (b *Backend) allocationFailure(ctx context.Context, err error) error {
	if clusterapi.CauseOf(err.Error()) == clusterapi.CauseNotEnoughPeers {
		members := len(b.tracker.Members())
		if unavailable := b.ipfsHealth(); unavailable != nil && members == 1 {
			return unavailable
		}
		if pings, pingErr := b.pings(ctx); pingErr == nil {
			return b.clockCause(clusterapi.AllocationFailure(err, len(pings), members))
		}
	}
	return clusterapi.Failure(err, "choose the peers to hold the pin")
}

// reallocate returns the allocations of a record that is held already (nil: they stay) and the
// peers that should hold it. Peers that have left are replaced as the cluster chooses; when it has
// none to replace them, that is no reason to refuse a new name.
func (b *Backend) reallocate(ctx context.Context, rec api.Pin) (allocations, holders []peer.ID, err error) {
	members := b.tracker.Members()
	if peerstatus.Everywhere(rec) {
		return nil, members, nil
	}
	if slices.ContainsFunc(rec.Allocations, b.tracker.Away) {
		peers := b.allocateBeside(ctx, rec)
		return peers, peers, nil
	}
	left := func(p peer.ID) bool { return !slices.Contains(members, p) }
	if len(rec.Allocations) > 0 && !slices.ContainsFunc(rec.Allocations, left) {
		return nil, rec.Allocations, nil
	}
	peers, err := b.allocate(ctx, rec)
	var failure *pinsvc.Error
	switch {
	case err == nil:
		return peers, peers, nil
	case len(rec.Allocations) == 0, errors.As(err, &failure) && failure.Kind != pinsvc.KindUnavailable:
		return nil, nil, err
	}
	return nil, rec.Allocations, nil
}

// allocateBeside returns the allocations of a record some of whose holders are away: the holders
// that are not, as many others as are wanted, and, while there are too few, those that are away.
// The cluster by itself gives a pin to no other peer while enough for its minimum respond, so it is
// asked as for a pin that it does not have, which is to be at the holders that respond.
func (b *Backend) allocateBeside(ctx context.Context, rec api.Pin) []peer.ID {
	var present, away []peer.ID
	for _, p := range rec.Allocations {
		if b.tracker.Away(p) {
			away = append(away, p)
		} else {
			present = append(present, p)
		}
	}
	wanted := max(rec.ReplicationFactorMax, len(rec.Allocations))
	req := rec
	req.Cid, req.UserAllocations = api.CidUndef, present
	peers, err := b.allocate(ctx, req)
	if err != nil {
		log.Infof("no peers to hold pin %s in the place of %d that are away: %s", rec.Cid, len(away), err)
	}
	for _, p := range slices.Concat(peers, away) {
		if len(present) < wanted && !slices.Contains(present, p) {
			present = append(present, p)
		}
	}
	return present
}
