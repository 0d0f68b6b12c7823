package clusterrpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

const (
	// maxMends bounds the pins that are mended in one beat, and mendWorkers
	// those at the same time.
	maxMends, mendWorkers = 512, 8
	// turn is how long a peer waits for each peer that is closer to a pin to
	// do what is to be done.
	turn = 30 * time.Second
	// lostTurn is turn for content that was lost: those that are closer may
	// not have seen that, and asking twice costs nothing.
	lostTurn = 5 * time.Second
)

// mender has peers try again what failed, what their IPFS node lost and what
// waited for it. It is used by one goroutine.
type mender struct {
	nodes map[peer.ID]nodeLook
}

// nodeLook is whether the IPFS node of a peer was there when it was last asked.
type nodeLook struct {
	there bool
	until time.Time
}

// mend does what is due.
func (b *Backend) mend(ctx context.Context) {
	due := b.troubles.due(maxMends)
	if len(due) == 0 {
		return
	}
	var g errgroup.Group
	g.SetLimit(mendWorkers)
	for _, d := range due {
		p, st, ok := b.stands(d)
		if !ok {
			b.troubles.over(d.key, d.peer) // It is held, or no concern any more.
			continue
		}
		if wait := b.turnOf(d, st); wait > 0 {
			b.troubles.putOff(d, false, wait)
			continue
		}
		if b.away.now(p) || st == standingWaits && !b.nodeThere(ctx, p) {
			b.troubles.putOff(d, false, b.opts.RetryDelay)
			continue
		}
		b.troubles.putOff(d, true, 0)
		g.Go(func() error {
			b.recover(ctx, p, api.NewCid(d.key))
			return nil
		})
	}
	_ = g.Wait() // None of them fails.
}

// stands returns the peer of a trouble and its standing; ok is false when there
// is no trouble any more.
func (b *Backend) stands(d dueTrouble) (p peer.ID, st standing, ok bool) {
	p = b.places.id(d.peer)
	b.view.Update(d.key, func(m *pinset.Mutable) bool {
		st, ok = b.places.look(m.Placement, m.Vector, p)
		return false
	})
	switch st {
	case standingLost, standingWaits, standingTrying:
		return p, st, ok
	case standingHolds, standingRewritten:
		// Its IPFS node is away, or was.
		return p, standingWaits, ok
	}
	return p, st, false
}

// turnOf is how long to leave a trouble to peers that are closer to the pin,
// counted from when it became due; zero when it is this peer's turn.
func (b *Backend) turnOf(d dueTrouble, st standing) time.Duration {
	var at uint32
	b.view.Update(d.key, func(m *pinset.Mutable) bool {
		at = m.Placement
		return false
	})
	should, _ := b.places.holders(at, 0)
	rank := b.rank(d.key, should)
	if rank == 0 {
		return 0
	}
	each := turn
	if st == standingLost {
		each = lostTurn
	}
	return b.troubles.wait(d, time.Duration(rank)*each)
}

// rank is how many of the peers, as far as they are there, are closer to a pin
// than this one. One that is not among them comes after them all.
func (b *Backend) rank(key cid.Cid, peers []peer.ID) int {
	if !slices.Contains(peers, b.self) {
		return len(peers)
	}
	rank := 0
	own := distance(key, b.self)
	for _, p := range peers {
		if d := distance(key, p); p != b.self && bytes.Compare(d[:], own[:]) < 0 && !b.away.now(p) {
			rank++
		}
	}
	return rank
}

// distance is between a pin and a peer, the same on every peer.
func distance(key cid.Cid, p peer.ID) [sha256.Size]byte {
	d, other := sha256.Sum256(key.Bytes()), sha256.Sum256([]byte(p))
	for i := range d {
		d[i] ^= other[i]
	}
	return d
}

// nodeThere reports whether the IPFS node of a peer answers.
func (b *Backend) nodeThere(ctx context.Context, p peer.ID) bool {
	now := b.opts.Now()
	if look, ok := b.mender.nodes[p]; ok && now.Before(look.until) {
		return look.there
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	id, err := b.cluster.id(ctx, b.dest(p))
	look := nodeLook{there: err == nil && id.IPFS.Error == "", until: now.Add(b.opts.RetryDelay / 2)}
	if b.mender.nodes == nil {
		b.mender.nodes = make(map[peer.ID]nodeLook)
	}
	b.mender.nodes[p] = look
	return look.there
}

// recover has a peer try a pin again, unless it did not answer just now: one
// that is frozen must not hold up what there is to do elsewhere.
func (b *Backend) recover(ctx context.Context, p peer.ID, key api.Cid) {
	if b.away.now(p) {
		return
	}
	call, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	info, err := b.cluster.recover(call, b.dest(p), key)
	if err != nil {
		if p != b.self && ctx.Err() == nil && call.Err() != nil {
			b.away.did(p)
		}
		log.Debugf("ask peer %s to try pin %s again: %s", p, key, err)
		return
	}
	if info.Cid.Defined() {
		b.ledger.heard(p, key.Cid, answerOf(info))
	}
}
