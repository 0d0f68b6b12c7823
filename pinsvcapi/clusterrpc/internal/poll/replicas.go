package poll

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// maxIncomplete bounds the pins whose other holders are polled. The others get their
	// turn later: they are found in the view, at most once each findInterval.
	maxIncomplete = 4096
	findInterval  = time.Minute
	// changesAtOnce is how many changes of the view are read at once.
	changesAtOnce = 1024
)

const (
	// soonDelay is the longest time between two polls for a pin within soonFor after it was noted:
	// a holder that was away needs its time to catch up, and is to be counted within half a minute in
	// all. soonPace is how far apart the polls are then: of many pins each has a longer delay.
	soonDelay, soonFor = 5 * time.Second, 10 * time.Minute
	soonPace           = 20 * time.Millisecond
	// againInterval is the shortest time between two recoveries of peers that count.
	againInterval = 10 * time.Second
)

// replicaDelays are the times between two polls for one pin: ever longer, until every holder
// has it or has given up.
var replicaDelays = backoff.Policy{Min: 500 * time.Millisecond, Max: 15 * time.Minute, Jitter: 0.1}

// replicaPolls are the pins that have become pinned while some of their holders have
// not confirmed them. All but missed, back and wake belongs to one goroutine.
type replicaPolls struct {
	pins map[cid.Cid]replicaPoll
	// found is when the view was last searched.
	found time.Time
	// missed: there may be incomplete pins beside those in pins. wake has room for one.
	missed atomic.Bool
	// back: a peer responds again; restarted is when the polls last began anew for that.
	back      atomic.Bool
	restarted time.Time
	wake      chan struct{}
}

type replicaPoll struct {
	noted, due time.Time
	polls      int
}

// next sets when a pin is polled for the next time, of n that are, by a crowd of that size each.
func (r *replicaPoll) next(now time.Time, n, crowd int) {
	delay := replicaDelays.Next(r.polls + 1)
	if since := now.Sub(r.noted); 0 <= since && since < soonFor {
		delay = min(delay, max(soonDelay, time.Duration(n*crowd)*soonPace))
	}
	r.due = now.Add(delay)
}

func newReplicaPolls() *replicaPolls {
	return &replicaPolls{pins: make(map[cid.Cid]replicaPoll), wake: make(chan struct{}, 1)}
}

// recovered has the view searched, and all pins polled as new ones: a peer responds again that had
// been left out, or reported less than it has.
func (r *replicaPolls) recovered() {
	r.back.Store(true)
	r.search()
}

// search has the view searched: a peer that was scanned may have reported less than it is to hold.
func (r *replicaPolls) search() {
	r.missed.Store(true)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// MembersChanged has the view searched: what is pinned everywhere has other holders now.
func (p *Poller) MembersChanged() { p.replicas.recovered() }

// FollowReplicas polls the holders of pinned pins that have not confirmed them, so that the
// number of replicas is shown soon: once enough holders confirmed a pin, active polls
// no longer include it. It returns with the context.
func (p *Poller) FollowReplicas(ctx context.Context) {
	r := p.replicas
	for seq := p.cfg.View.Seq(); ctx.Err() == nil; {
		seq = p.readChanges(r, seq)
		r.beginAgain(p.cfg.Now())
		p.findIncomplete(r)
		p.pollReplicas(ctx, r)
		timer := time.NewTimer(r.wait(p.cfg.Now()))
		select {
		case <-p.cfg.View.Changed(seq):
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// beginAgain begins the delays of all pins anew once a peer responds again.
func (r *replicaPolls) beginAgain(now time.Time) {
	if since := now.Sub(r.restarted); 0 <= since && since < againInterval || !r.back.Swap(false) {
		return
	}
	r.restarted, r.found = now, time.Time{}
	for key := range r.pins {
		r.pins[key] = replicaPoll{noted: now, due: now}
	}
}

// readChanges notes the pins that have become pinned, or have been changed since, and are incomplete, and
// returns the number of the last change that was read. A pinned pin may have got other holders, or one of
// them may have lost it.
func (p *Poller) readChanges(r *replicaPolls, seq uint64) uint64 {
	for {
		changes, err := p.cfg.View.Since(seq, changesAtOnce)
		if err != nil {
			r.missed.Store(true) // Too many at once.
			return p.cfg.View.Seq()
		}
		for _, change := range changes {
			seq = change.Seq
			if change.Kind == pinset.Removed || change.New != pinsvc.StatusPinned {
				continue
			}
			key, ok := keyOf(change.Key)
			if _, noted := r.pins[key]; ok && (change.Old != change.New || !noted) {
				p.noteIncomplete(r, key)
			}
		}
		if len(changes) < changesAtOnce {
			return seq
		}
	}
}

// noteIncomplete notes a pin if holders are to be polled for it.
func (p *Poller) noteIncomplete(r *replicaPolls, key cid.Cid) {
	if len(p.unconfirmed(key)) == 0 {
		return
	}
	if _, ok := r.pins[key]; !ok && len(r.pins) >= maxIncomplete {
		r.missed.Store(true)
		return
	}
	poll := replicaPoll{noted: p.cfg.Now()}
	poll.next(poll.noted, len(r.pins), p.crowd())
	r.pins[key] = poll
}

// findIncomplete searches the view for pins that were missed, while there is room for many.
func (p *Poller) findIncomplete(r *replicaPolls) {
	now := p.cfg.Now()
	if since := now.Sub(r.found); len(r.pins) > maxIncomplete/2 || 0 <= since && since < findInterval || !r.missed.Swap(false) {
		return
	}
	r.found = now
	var keys []cid.Cid
	incomplete := make(map[[2]uint32]bool) // By placement and vector.
	p.cfg.View.ForEach(pinsvc.SetOf(pinsvc.StatusPinned), func(text string, m pinset.Mutable) bool {
		kind := [2]uint32{m.Placement, m.Vector}
		lacks, known := incomplete[kind]
		if !known {
			lacks = len(p.unconfirmedOf(m)) > 0
			incomplete[kind] = lacks
		}
		if key, ok := keyOf(text); ok && lacks {
			if _, noted := r.pins[key]; !noted {
				keys = append(keys, key)
			}
		}
		return len(keys) < maxIncomplete
	})
	for _, key := range keys {
		p.noteIncomplete(r, key)
	}
	if len(keys) >= maxIncomplete {
		r.missed.Store(true)
	}
}

// unconfirmed are the holders of a pinned pin that have neither confirmed nor failed it, and
// that respond; of a large cluster not all, since each of its peers polls. Scans poll all.
func (p *Poller) unconfirmed(key cid.Cid) []peer.ID {
	m, found := p.cfg.View.Lookup(key)
	if !found || m.Status != pinsvc.StatusPinned {
		return nil
	}
	return p.unconfirmedOf(m)
}

func (p *Poller) unconfirmedOf(m pinset.Mutable) (ids []peer.ID) {
	holders, _ := p.cfg.Tracker.Holders(m.Placement)
	for _, id := range holders {
		switch st, _ := p.cfg.Tracker.PeerState(m, id); st {
		case peerstatus.Pinned, peerstatus.Rewritten, peerstatus.Failed:
		default:
			if !p.breaker.Open(id) { // When it responds again, the view is searched.
				ids = append(ids, id)
			}
		}
		if len(ids) == maxSpare {
			break
		}
	}
	return ids
}

// pollReplicas polls the holders of pins that are due, or has them scanned.
func (p *Poller) pollReplicas(ctx context.Context, r *replicaPolls) {
	now, crowd := p.cfg.Now(), p.crowd()
	var g errgroup.Group
	g.SetLimit(absentWorkers)
	for key, poll := range r.pins {
		if poll.due.After(now) && poll.due.Sub(now) <= replicaDelays.Max {
			continue
		}
		ids := p.unconfirmed(key)
		if poll.polls++; len(ids) == 0 {
			delete(r.pins, key)
			continue
		}
		polls := 0
		for _, id := range ids {
			if p.scansInstead(id, len(r.pins)) {
				p.RequestScan(id)
				continue
			}
			polls = len(r.pins)
			g.Go(func() error {
				p.pinAt(ctx, id, api.NewCid(key))
				return nil
			})
		}
		poll.next(now, polls, crowd)
		r.pins[key] = poll
	}
	_ = g.Wait() // None of them fails.
}

// scansInstead reports whether a scan of a peer costs it no more than polls for so many pins, and tells of them
// sooner.
func (p *Poller) scansInstead(id peer.ID, pins int) bool {
	took, known := p.scans.took(id)
	polls := time.Duration(pins) * soonPace
	return known && polls > soonDelay && activeShare*took < polls
}

// wait is how long nothing is due.
func (r *replicaPolls) wait(now time.Time) time.Duration {
	wait := time.Hour
	if r.missed.Load() {
		wait = findInterval
	}
	if r.back.Load() {
		wait = againInterval
	}
	for _, poll := range r.pins {
		wait = min(wait, poll.due.Sub(now))
	}
	return max(wait, activeWait)
}
