package poll

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

const (
	// activeWait is how long a request waits for the reports of an active poll.
	activeWait = 250 * time.Millisecond
	// activeShare is the share of a peer's time that active polls may take: one
	// in so many.
	activeShare = 20
	// maxPause is the longest pause after an active poll, and failedPause after one that
	// failed: a poll over a link that was cut takes long as well, and statuses are to be
	// true soon after it has healed.
	maxPause, failedPause = 20 * time.Second, 10 * time.Second
	// maxAbsent bounds the pins for which one active poll polls a peer one by one,
	// absentWorkers of them at a time. From scanInstead on the peer is scanned.
	maxAbsent, absentWorkers, scanInstead = 1024, 16, 4096
	// maxQuiet bounds the pins that are not polled for a while.
	maxQuiet = 8192
)

const (
	// A holder that has yet to catch up is to be found to have a pin within half a minute in all, so in
	// the first soonQuiet polls for it the delay is soonDelay at most. quietPace is how far apart these
	// polls are: of many pins each has a longer delay.
	soonQuiet, quietPace = 64, 10 * time.Millisecond
)

// quietDelays are the times for which a pin is not polled at a peer that does not
// report it as active and does not hold it.
var quietDelays = backoff.Policy{Min: 500 * time.Millisecond, Max: 20 * time.Second, Jitter: 0.1}

// activePolls are the polls of what each peer is at work on. They run only while a
// pin is not settled, and rarely when they take long. Each peer has its own, so that
// one that does not respond costs the others nothing.
type activePolls struct {
	// mu closes the race between two requests that would both begin a poll.
	mu    sync.Mutex
	last  time.Time // when polls were last begun, with a monotonic clock
	peers map[peer.ID]*activePoll
	quiet *lru.Cache[quietKey, quietPin]

	queue atomic.Pointer[map[cid.Cid]int] // see queue_position.go
	roots atomic.Bool                     // sharded roots are being polled
	root  int                             // which of those that are not settled was polled last
	// allRoots is set while all sharded roots are being polled.
	allRoots atomic.Bool
}

// activePoll is the state of the polls of one peer.
type activePoll struct {
	done  chan struct{} // closed when the poll in progress ends; nil without one
	ended time.Time
	pause time.Duration // until the next one
}

// quietKey is a pin at a peer.
type quietKey struct {
	pin  cid.Cid
	peer peer.ID
}

type quietPin struct {
	until time.Time
	polls int
}

func newActivePolls() *activePolls {
	quiet, err := lru.New[quietKey, quietPin](maxQuiet)
	if err != nil {
		panic(err) // Only a size below 1 fails.
	}
	return &activePolls{peers: make(map[peer.ID]*activePoll), quiet: quiet}
}

// Active sees to it that the statuses of pins that are not settled are not old. It
// waits for the reports of peers, but not long, and reports whether anything may have
// changed.
func (p *Poller) Active(ctx context.Context) (changed bool) {
	if p.cfg.View.Count(peerstatus.Active) == 0 || !p.active.due(p.cfg.Now(), p.cfg.ActiveInterval) {
		return false
	}
	timer := time.NewTimer(activeWait)
	defer timer.Stop()
	for _, done := range p.beginActive() {
		select {
		case <-done:
		case <-timer.C:
			return true
		case <-ctx.Done():
			return true
		}
	}
	return true
}

// due reports whether it is time for active polls, and if so takes the turn. A clock
// that was set back does not delay them: times have a monotonic reading, and without
// one a negative difference is due.
func (a *activePolls) due(now time.Time, interval time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if since := now.Sub(a.last); since >= 0 && since < interval {
		return false
	}
	a.last = now
	return true
}

// beginActive begins a poll of every peer that should hold an unsettled pin and may be
// polled again, and returns channels that are closed when the polls end.
func (p *Poller) beginActive() []chan struct{} {
	var polls []chan struct{}
	for _, id := range p.activeHolders() {
		if done := p.beginActivePeer(id); done != nil {
			polls = append(polls, done)
		}
	}
	if p.cfg.Tracker.AnySharded() && p.active.roots.CompareAndSwap(false, true) && !p.cfg.Tasks.Go(p.activeRoots) {
		p.active.roots.Store(false)
	}
	return polls
}

// activeHolders are the peers that should hold a pin that is not settled.
func (p *Poller) activeHolders() []peer.ID {
	members := len(p.cfg.Tracker.Members())
	found := make(map[peer.ID]struct{}, members)
	placements := make(map[uint32]struct{})
	p.cfg.View.ForEach(peerstatus.Active, func(_ string, m pinset.Mutable) bool {
		if _, ok := placements[m.Placement]; ok {
			return true
		}
		placements[m.Placement] = struct{}{}
		holders, _ := p.cfg.Tracker.Holders(m.Placement)
		for _, id := range holders {
			found[id] = struct{}{}
		}
		return len(found) < members
	})
	ids := make([]peer.ID, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	return ids
}

// beginActivePeer returns nil when it is too early for another poll of the peer, or when
// the peer does not respond.
func (p *Poller) beginActivePeer(id peer.ID) chan struct{} {
	a := p.active
	a.mu.Lock()
	defer a.mu.Unlock()
	state, ok := a.peers[id]
	if !ok {
		state = &activePoll{}
		a.peers[id] = state
	}
	since := p.cfg.Now().Sub(state.ended)
	switch {
	case state.done != nil:
		return state.done
	case since >= 0 && since < state.pause, !p.breaker.Allow(id):
		return nil
	}
	done := make(chan struct{})
	if !p.cfg.Tasks.Go(func(ctx context.Context) {
		took, err := p.activePeer(ctx, id)
		a.mu.Lock()
		defer a.mu.Unlock()
		state.done, state.ended, state.pause = nil, p.cfg.Now(), min(activeShare*took, maxPause)
		if err != nil {
			state.pause = min(state.pause, failedPause)
		}
		close(done)
	}) {
		return nil
	}
	state.done = done
	return done
}

// activePeer polls one peer for what it is at work on, enters the reports, and polls
// one by one for what should be among them and is not. It returns how long the peer
// took for the first, and why that failed.
func (p *Poller) activePeer(ctx context.Context, id peer.ID) (took time.Duration, err error) {
	began, since := time.Now(), p.cfg.Now()
	reports := make(map[cid.Cid]peerstatus.Report)
	call, cancel := context.WithTimeout(ctx, p.cfg.ActiveTimeout)
	defer cancel()
	// The peer's tracker holds its lock while it streams: copy, then enter.
	err = p.cfg.Client.TrackerStatuses(call, p.destination(id), clusterapi.ActiveStatuses, func(info api.PinInfo) error {
		reports[info.Cid.Cid] = peerstatus.ReportOf(info)
		return nil
	})
	took = time.Since(began)
	p.ended(ctx, id, err)
	for key, report := range reports {
		if !p.overtaken(id, key, since) {
			p.cfg.Tracker.Observe(id, key, report)
		}
	}
	if err != nil {
		// The absence of a pin from the stream means nothing.
		log.Debugf("poll peer %s for its active pins: %s", id, err)
		return took, err
	}
	if id == p.cfg.Self {
		p.active.setQueue(reports)
	}
	p.pollAbsent(ctx, id, reports)
	return took, nil
}

// pollAbsent polls a peer for the unsettled pins that it should hold and is not at
// work on: they are done, or were never begun.
func (p *Poller) pollAbsent(ctx context.Context, id peer.ID, reports map[cid.Cid]peerstatus.Report) {
	absent, tooMany := p.absent(id, reports)
	if tooMany {
		p.RequestScan(id)
		return
	}
	var g errgroup.Group
	g.SetLimit(absentWorkers)
	for _, key := range absent {
		g.Go(func() error {
			// A peer that does not respond says nothing of the pin.
			if holds, responded := p.pinAt(ctx, id, api.NewCid(key)); responded {
				p.active.polled(quietKey{key, id}, holds, p.cfg.Now(), p.crowd())
			}
			return nil
		})
	}
	_ = g.Wait() // None of them fails.
}

// absent are the unsettled pins that a peer should hold, has not confirmed and did not
// report; tooMany: there are so many that a scan costs less.
func (p *Poller) absent(id peer.ID, reports map[cid.Cid]peerstatus.Report) (absent []cid.Cid, tooMany bool) {
	now, n := p.cfg.Now(), 0
	p.cfg.View.ForEach(peerstatus.Active, func(text string, m pinset.Mutable) bool {
		st, counts := p.cfg.Tracker.PeerState(m, id)
		if !counts || st == peerstatus.Pinned || st == peerstatus.Rewritten || p.cfg.Tracker.Sharded(m.Placement) {
			return true
		}
		key, ok := keyOf(text)
		if !ok {
			return true
		}
		if _, reported := reports[key]; reported {
			p.active.quiet.Remove(quietKey{key, id}) // Its end is seen by the next poll.
			return true
		}
		n++
		if len(absent) < maxAbsent && !p.active.isQuiet(quietKey{key, id}, now) {
			absent = append(absent, key)
		}
		return n < scanInstead
	})
	return absent, n >= scanInstead && n >= p.cfg.View.Len()/activeShare
}

func (a *activePolls) isQuiet(key quietKey, now time.Time) bool {
	q, ok := a.quiet.Get(key)
	return ok && now.Before(q.until) && q.until.Sub(now) <= quietDelays.Max
}

// polled notes that a peer was polled for a pin. While the peer does not hold it, it is
// polled less and less often.
func (a *activePolls) polled(key quietKey, holds bool, now time.Time, crowd int) {
	if holds {
		a.quiet.Remove(key)
		return
	}
	q, _ := a.quiet.Get(key)
	q.polls++
	delay := quietDelays.Next(q.polls)
	if q.polls <= soonQuiet {
		delay = min(delay, max(soonDelay, time.Duration(a.quiet.Len()*crowd)*quietPace))
	}
	q.until = now.Add(delay)
	a.quiet.Add(key, q)
}

// recovered has a peer that responds again polled at once, for all that it should hold and
// has not confirmed.
func (a *activePolls) recovered(id peer.ID) {
	for _, key := range a.quiet.Keys() {
		if key.peer == id {
			a.quiet.Remove(key)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if state := a.peers[id]; state != nil {
		state.pause = 0
	}
}
