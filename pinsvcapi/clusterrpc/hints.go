package clusterrpc

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
)

// Hint says that the shared state has or is about to have another record of a
// pin, or none. It may be wrong and it may be missing: who gets it reads the
// state.
type Hint struct {
	CID cid.Cid
	// Written is when the new record was written; zero if the pin was
	// removed.
	Written time.Time
	// Record is the new record as the state keeps it (its ProtoMarshal),
	// which tells two of one second apart; empty when it is not known.
	Record  string
	Removed bool
}

// Hints tell of changes of the shared state, whoever made them. A watch.Tracker
// has them. Without hints changes by others are seen when the whole state is
// read, which is done more often then.
type Hints interface {
	// Subscribe has f called with every hint from now on until cancel is. f
	// returns at once.
	Subscribe(f func(Hint)) (cancel func())
}

// maxHints bounds the hints that wait. When there are more, the whole state is
// read instead.
const maxHints = 1 << 17

// patience is when a pin is read again whose state does not show what a hint
// announced: the hint may come before the change is committed. The last is
// for large commits on slow disks. What is then not there was not to come.
var patience = []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second}

// hintQueue holds the pins that are to be read again.
type hintQueue struct {
	now  func() time.Time
	wake chan struct{}

	mu      sync.Mutex
	waiting map[cid.Cid]Hint
	order   []cid.Cid
	// later are the pins that are to be read again, one list for each step
	// of patience, each in the order of time.
	later    [][]laterHint
	overflow bool
}

type laterHint struct {
	Hint
	due time.Time
}

func newHintQueue() *hintQueue {
	return &hintQueue{
		now: time.Now, wake: make(chan struct{}, 1),
		waiting: make(map[cid.Cid]Hint), later: make([][]laterHint, len(patience)),
	}
}

// add never waits.
func (q *hintQueue) add(h Hint) {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.waiting[h.CID]
	switch {
	case ok: // The last word counts.
	case len(q.waiting) >= maxHints:
		q.overflow = true
		return
	default:
		q.order = append(q.order, h.CID)
	}
	q.waiting[h.CID] = h
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns a hint that is due with its step of patience, or how long there
// is none.
func (q *hintQueue) take() (h Hint, step int, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) > 0 {
		h = q.waiting[q.order[0]]
		delete(q.waiting, q.order[0])
		if q.order = q.order[1:]; len(q.order) == 0 {
			q.order = nil
		}
		return h, 0, 0
	}
	wait = time.Hour
	now := q.now()
	for i, list := range q.later {
		if len(list) == 0 {
			continue
		}
		if due := list[0].due.Sub(now); due > 0 {
			wait = min(wait, due)
			continue
		}
		if q.later[i] = list[1:]; len(list) == 1 {
			q.later[i] = nil
		}
		return list[0].Hint, i + 1, 0
	}
	return Hint{}, 0, wait
}

// retry has a hint looked at again later, unless patience is at its end.
func (q *hintQueue) retry(h Hint, step int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case step >= len(patience):
	case len(q.later[step]) >= maxHints:
		q.overflow = true
	default:
		q.later[step] = append(q.later[step], laterHint{h, q.now().Add(patience[step])})
	}
}

// overflowed reports whether hints were lost since the last time.
func (q *hintQueue) overflowed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.overflow
	q.overflow = false
	return was
}

// follow reads what the hints are about until the context ends.
func (f *feed) follow(ctx context.Context, q *hintQueue) {
	for ctx.Err() == nil {
		h, step, wait := q.take()
		if wait > 0 {
			if q.overflowed() {
				log.Warnf("too many changes at once: the whole pinset is read again")
				f.soon()
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-q.wake:
			case <-ctx.Done():
			}
			timer.Stop()
			continue
		}
		rec, found, err := f.refresh(ctx, api.NewCid(h.CID))
		if err != nil || !shows(h, rec, found) {
			q.retry(h, step)
		}
	}
}

// shows reports whether the state has what a hint announced, or something
// newer.
func shows(h Hint, rec api.Pin, found bool) bool {
	switch {
	case h.Removed || !found:
		return h.Removed && !found
	case h.Record == "" || form(rec, true) == h.Record:
		return rec.Timestamp.Unix() >= h.Written.Unix()
	default:
		return rec.Timestamp.Unix() > h.Written.Unix()
	}
}
