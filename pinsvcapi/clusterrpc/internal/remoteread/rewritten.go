package remoteread

import (
	"context"
	"slices"
	"sync"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Rewritten reports whether another peer has another record of a pin than rec, which is what
// this peer has. What follows from rec, such as a failure, may be old news then: Rewritten
// waits a moment for the change to arrive, until arrived says so, and returns arrived's last
// word and the other peer's record.
//
// It is for statuses that clients give up at. Peers that do not answer in time do not
// count, and when the user waits for too many pins or has no question left, nothing is asked.
func (r *Reader) Rewritten(ctx context.Context, user pinsvc.User, rec api.Pin, arrived func() bool) (other api.Pin, rewritten, here bool) {
	place := r.waiting.placeOf(user)
	defer place.leave()
	if !place.take() || !r.limiter.Take(string(user)) {
		return api.Pin{}, false, false
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	other, rewritten = r.otherRecord(ctx, rec)
	if !rewritten {
		return api.Pin{}, false, false
	}
	return other, true, r.arrivesOrIsRead(ctx, rec.Cid.Cid, arrived, readPatience)
}

// otherRecord asks all living peers for a record that is not rec.
func (r *Reader) otherRecord(ctx context.Context, rec api.Pin) (other api.Pin, found bool) {
	peers, _, err := r.others(ctx)
	if err != nil {
		return api.Pin{}, false
	}
	got := firstFound(ctx, peers, func(ctx context.Context, p peer.ID) reply { return r.differs(ctx, p, rec) })
	return got.rec, got.found
}

// firstFound asks peers at the same time, until one has found something. ctx is cancelled for the
// others then, and all have ended when it returns.
func firstFound(ctx context.Context, peers []peer.ID, ask func(context.Context, peer.ID) reply) reply {
	ctx, cancel := context.WithCancel(ctx)
	replies := make(chan reply, len(peers))
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	for _, p := range peers {
		asked.Go(func() { replies <- ask(ctx, p) })
	}
	for range peers {
		if got := <-replies; got.found {
			return got
		}
	}
	return reply{}
}

// differs asks one peer for its record; found: it is another one than rec, and none that this peer
// has had before.
func (r *Reader) differs(ctx context.Context, p peer.ID, rec api.Pin) reply {
	got, found, err := r.readAt(ctx, p, rec.Cid)
	if err != nil || !found || !pinrecord.Visible(got) || r.removed(ctx, p, got) {
		return reply{err: err}
	}
	return reply{by: p, rec: got, found: !r.same(p, got, rec) && !r.superseded(ctx, p, got)}
}

// superseded reports whether a record of another peer came to the state of this one, which is then
// that record or a newer one: the other peer is behind.
func (r *Reader) superseded(ctx context.Context, by peer.ID, theirs api.Pin) bool {
	if r.cfg.Past == nil {
		return false
	}
	past, err := r.cfg.Past(ctx, theirs.Cid)
	return err == nil && slices.ContainsFunc(past, func(old api.Pin) bool { return r.same(by, theirs, old) })
}

// outdated reports whether a record of another peer came to the state of this one, which shows no record
// of that pin now: it has come to another one since, which was replaced or removed.
func (r *Reader) outdated(ctx context.Context, by peer.ID, theirs api.Pin) bool {
	if !r.superseded(ctx, by, theirs) {
		return false
	}
	_, found, err := r.cfg.Look(ctx, theirs.Cid.Cid)
	return err == nil && !found
}
