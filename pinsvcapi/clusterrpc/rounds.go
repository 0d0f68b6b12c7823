package clusterrpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

const (
	// roundWait is how long a request waits for the answers of a round.
	roundWait = 250 * time.Millisecond
	// roundShare is the part of a peer's time that rounds may take: one in
	// so many.
	roundShare = 20
	// maxAsks bounds the pins that one round asks a peer about one by one.
	// When there are many more of them, the peer is swept.
	maxAsks, askWorkers, sweepInstead = 1024, 16, 4096
	// maxQuiet bounds the pins that are not asked about for a while.
	maxQuiet = 8192
	// quietFirst and quietMost are how long that is.
	quietFirst, quietMost = 500 * time.Millisecond, time.Minute
	// maxRoots bounds the sharded roots that one round asks about.
	maxRoots = 16
)

// rounds are the questions to each peer about what it is at work on, asked
// only while something is in flight, and rarely when the answer takes long.
// Peers are asked each on its own, so that one that does not answer costs the
// others nothing.
type rounds struct {
	last atomic.Int64 // Unix nanoseconds of the last begin

	mu    sync.Mutex
	peers map[peer.ID]*peerRounds
	quiet map[quietKey]*quietPin
	queue atomic.Pointer[map[cid.Cid]int]
	roots atomic.Bool // sharded roots are being asked about
}

type peerRounds struct {
	running chan struct{} // closed when the round ends; nil without one
	ended   time.Time
	took    time.Duration
}

// quietKey is a pin that a peer is to hold, has nothing to say of, and is not
// asked about again before next.
type quietKey struct {
	pin  cid.Cid
	peer peer.ID
}

type quietPin struct {
	next time.Time
	wait time.Duration
}

func newRounds() *rounds {
	return &rounds{peers: make(map[peer.ID]*peerRounds), quiet: make(map[quietKey]*quietPin)}
}

// freshen sees to it that the statuses of pins in flight are not old. It waits
// for the answers of peers, but not long, and reports whether anything may
// have changed.
func (b *Backend) freshen(ctx context.Context) bool {
	if !b.condition.ready() || b.view.Count(inFlight) == 0 {
		return false
	}
	now, last := time.Now(), b.rounds.last.Load()
	if now.Sub(time.Unix(0, last)) < b.opts.RoundInterval || !b.rounds.last.CompareAndSwap(last, now.UnixNano()) {
		return false
	}
	timer := time.NewTimer(roundWait)
	defer timer.Stop()
	for _, running := range b.beginRounds(now) {
		select {
		case <-running:
		case <-timer.C:
			return true
		case <-ctx.Done():
			return true
		}
	}
	return true
}

// beginRounds begins a round for every peer that should hold a pin in flight
// and may be asked again, and returns what is closed when they end.
func (b *Backend) beginRounds(now time.Time) []chan struct{} {
	var running []chan struct{}
	for _, p := range b.concerned() {
		if b.away.is(p) {
			continue
		}
		if end := b.beginRound(p, now); end != nil {
			running = append(running, end)
		}
	}
	if b.places.anyInParts() && b.rounds.roots.CompareAndSwap(false, true) && !b.tasks.start(b.askRoots) {
		b.rounds.roots.Store(false)
	}
	return running
}

// concerned are the peers that should hold a pin in flight.
func (b *Backend) concerned() []peer.ID {
	members := len(b.places.memberIDs())
	found := make(map[peer.ID]struct{}, members)
	placements := make(map[uint32]struct{})
	b.view.ForEach(inFlight, func(_ string, m pinset.Mutable) bool {
		if _, ok := placements[m.Placement]; ok {
			return true
		}
		placements[m.Placement] = struct{}{}
		should, _ := b.places.holders(m.Placement, 0)
		for _, p := range should {
			found[p] = struct{}{}
		}
		return len(found) < members
	})
	peers := make([]peer.ID, 0, len(found))
	for p := range found {
		peers = append(peers, p)
	}
	return peers
}

// beginRound returns nil when it is too early for another round.
func (b *Backend) beginRound(p peer.ID, now time.Time) chan struct{} {
	r := b.rounds
	r.mu.Lock()
	defer r.mu.Unlock()
	state, ok := r.peers[p]
	if !ok {
		state = &peerRounds{}
		r.peers[p] = state
	}
	switch {
	case state.running != nil:
		return state.running
	case now.Sub(state.ended) < roundShare*state.took:
		return nil
	}
	end := make(chan struct{})
	if !b.tasks.start(func(ctx context.Context) {
		took := b.round(ctx, p)
		r.mu.Lock()
		defer r.mu.Unlock()
		state.running, state.ended, state.took = nil, time.Now(), took
		close(end)
	}) {
		return nil
	}
	state.running = end
	return end
}

// round asks one peer what it is at work on, enters the answers, and asks one
// by one about what should be among them and is not. It returns how long the
// peer took for the first.
func (b *Backend) round(ctx context.Context, p peer.ID) time.Duration {
	began := time.Now()
	answers := make(map[cid.Cid]answer)
	call, cancel := context.WithTimeout(ctx, b.opts.RoundTimeout)
	defer cancel()
	// The peer's tracker is held up while it streams: copy, then enter.
	err := b.cluster.trackerStatuses(call, b.dest(p), underWay, func(info api.PinInfo) error {
		answers[info.Cid.Cid] = answerOf(info)
		return nil
	})
	took := time.Since(began)
	for key, a := range answers {
		b.ledger.heard(p, key, a)
	}
	if err != nil {
		// What is absent means nothing now.
		if ctx.Err() == nil {
			log.Debugf("peer %s does not say what it is at work on: %s", p, err)
			if p != b.self { // This one is there, whatever its tracker says.
				b.away.did(p)
			}
		}
		return took
	}
	b.away.back(p)
	if p == b.self {
		b.rounds.queued(answers)
	}
	b.askAbsent(ctx, p, answers)
	return took
}

// dest is where calls to a peer go.
func (b *Backend) dest(p peer.ID) peer.ID {
	if p == b.self {
		return local
	}
	return p
}

// askAbsent asks a peer about the pins in flight that it should hold and is
// not at work on: they are done, or were never begun.
func (b *Backend) askAbsent(ctx context.Context, p peer.ID, answers map[cid.Cid]answer) {
	absent, more := b.absent(p, answers)
	if more {
		b.sweeps.soon(p)
		return
	}
	var g errgroup.Group
	g.SetLimit(askWorkers)
	for _, key := range absent {
		g.Go(func() error {
			holds := b.askOne(ctx, p, api.NewCid(key))
			b.rounds.asked(quietKey{key, p}, holds, time.Now())
			return nil
		})
	}
	_ = g.Wait() // None of them fails.
}

// absent are the pins in flight that a peer should hold, is not known to hold
// and did not name; more says that there are so many that a sweep costs less.
func (b *Backend) absent(p peer.ID, answers map[cid.Cid]answer) (absent []cid.Cid, more bool) {
	now, n := time.Now(), 0
	b.view.ForEach(inFlight, func(text string, m pinset.Mutable) bool {
		st, counts := b.places.look(m.Placement, m.Vector, p)
		if !counts || st == standingHolds || st == standingRewritten || b.places.kind(m.Placement) == placedInParts {
			return true
		}
		key, ok := keyOf(text)
		if !ok {
			return true
		}
		if _, named := answers[key]; named {
			return true
		}
		n++
		if len(absent) < maxAsks && !b.rounds.isQuiet(quietKey{key, p}, now) {
			absent = append(absent, key)
		}
		return n < sweepInstead
	})
	return absent, n >= sweepInstead && n >= b.view.Len()/roundShare
}

func (r *rounds) isQuiet(key quietKey, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	q, ok := r.quiet[key]
	return ok && now.Before(q.next)
}

// asked tells that a peer was asked about a pin. While it does not hold it, it
// is asked less and less often.
func (r *rounds) asked(key quietKey, holds bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if holds {
		delete(r.quiet, key)
		return
	}
	q, ok := r.quiet[key]
	if !ok {
		if len(r.quiet) >= maxQuiet {
			clear(r.quiet)
		}
		q = &quietPin{wait: quietFirst / 2}
		r.quiet[key] = q
	}
	q.wait = min(2*q.wait, quietMost)
	q.next = now.Add(q.wait)
}

// askRoots asks about the sharded roots in flight.
func (b *Backend) askRoots(ctx context.Context) {
	defer b.rounds.roots.Store(false)
	var roots []cid.Cid
	b.view.ForEach(inFlight, func(text string, m pinset.Mutable) bool {
		if b.places.kind(m.Placement) == placedInParts {
			if key, ok := keyOf(text); ok {
				roots = append(roots, key)
			}
		}
		return len(roots) < maxRoots
	})
	for _, key := range roots {
		b.askRoot(ctx, key)
	}
}

// askRoot asks about one sharded root.
func (b *Backend) askRoot(ctx context.Context, key cid.Cid) {
	rec, found, err := b.record(ctx, api.NewCid(key))
	if err == nil && found {
		err = b.askParts(ctx, rec)
	}
	if err != nil {
		log.Debugf("parts of sharded pin %s: %s", key, err)
	}
}

// queued remembers the order in which this peer's tracker will come to the
// pins that wait. It takes those of its last round in the order in which they
// came, since new ones go to the end.
func (r *rounds) queued(answers map[cid.Cid]answer) {
	type waiting struct {
		key   cid.Cid
		since time.Time
	}
	var queue []waiting
	for key, a := range answers {
		if a.status == api.TrackerStatusPinQueued {
			queue = append(queue, waiting{key, a.since})
		}
	}
	slices.SortFunc(queue, func(a, b waiting) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.key.KeyString(), b.key.KeyString()))
	})
	positions := make(map[cid.Cid]int, len(queue))
	for i, w := range queue {
		positions[w.key] = i + 1
	}
	r.queue.Store(&positions)
}

// position says where in this peer's queue a pin is; empty when it is not.
func (r *rounds) position(key cid.Cid) string {
	queue := r.queue.Load()
	if queue == nil {
		return ""
	}
	at, ok := (*queue)[key]
	if !ok {
		return ""
	}
	return fmt.Sprintf("number %d of %d in the queue of this peer", at, len(*queue))
}
