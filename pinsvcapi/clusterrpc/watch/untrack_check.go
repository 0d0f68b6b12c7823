package watch

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// removal is a pin for which the tracker's Untrack was called.
type removal struct {
	key     cid.Cid
	since   time.Time
	checks  int  // how many were made
	tracked bool // Track was called for the pin since
	failed  bool // the last check could not be made
}

// checkDelays are the times after a removal at which the state is read. What it shows at first
// may be overtaken, so it is read again.
func checkDelays() []time.Duration {
	return []time.Duration{500 * time.Millisecond, 3 * time.Second, 30 * time.Second}
}

// idleDelay is how long the checks sleep when there is nothing to check.
const idleDelay = time.Hour

// dueRemoval is a removal and when it is to be checked next. One that was replaced, or is forgotten,
// stays until then.
type dueRemoval struct {
	*removal
	at time.Time
}

// dueRemovals is a heap: the next is the first. Many pins may be deleted at once, so that they are
// not walked over for each.
type dueRemovals []dueRemoval

func (d dueRemovals) Len() int           { return len(d) }
func (d dueRemovals) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d dueRemovals) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *dueRemovals) Push(x any) { *d = append(*d, x.(dueRemoval)) }

// Pop implements heap.Interface.
func (d *dueRemovals) Pop() any {
	last := len(*d) - 1
	r := (*d)[last]
	(*d)[last] = dueRemoval{}
	*d = (*d)[:last]
	return r
}

// watchRemoval has a removal checked, in the place of an earlier one of the pin. It needs the lock.
func (t *Tracker) watchRemoval(r *removal) {
	t.removals[r.key] = r
	t.schedule(r)
}

// schedule needs the lock.
func (t *Tracker) schedule(r *removal) {
	heap.Push(&t.due, dueRemoval{r, r.since.Add(t.delays[r.checks])})
	if t.due[0].removal != r {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// checkRemovals checks removals until the tracker is shut down. A cluster unpins content that is
// still in its state (U13 in docs/upstream-faults.md).
func (t *Tracker) checkRemovals() {
	for {
		timer := time.NewTimer(t.checkDue(time.Now()))
		select {
		case <-timer.C:
		case <-t.wake:
		case <-t.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// checkDue checks the removals whose time has come and returns when to come back.
func (t *Tracker) checkDue(now time.Time) time.Duration {
	for {
		t.mu.Lock()
		if len(t.due) == 0 {
			t.mu.Unlock()
			return idleDelay
		}
		if wait := t.due[0].at.Sub(now); wait > 0 {
			t.mu.Unlock()
			return wait
		}
		r := heap.Pop(&t.due).(dueRemoval).removal
		current := t.removals[r.key] == r
		t.mu.Unlock()
		if current {
			t.checkRemoval(r.key)
		}
	}
}

// checkRemoval reads the state of a pin that was removed and has the tracker follow the
// state. It holds the lock of the pin, so a Track or Untrack by the consensus comes before or after
// all of it.
func (t *Tracker) checkRemoval(c cid.Cid) {
	unlock, err := t.keys.Lock(t.ctx, c.KeyString())
	if err != nil {
		return // The tracker is shut down.
	}
	defer unlock()
	t.mu.Lock()
	r, ok := t.removals[c]
	// A call that came first has begun the time anew.
	due := ok && time.Since(r.since) >= t.delays[r.checks]
	if due {
		if r.checks++; r.checks >= len(t.delays) {
			delete(t.removals, c)
		} else {
			t.schedule(r)
		}
	}
	t.mu.Unlock()
	if !due {
		return
	}
	pin, wanted, err := t.read(t.ctx, c)
	switch {
	case err != nil: // As on a disk that is slow. The last check decides, so one that cannot be made is no check.
		if r.failed { // One may fail because the peer is being stopped.
			log.Warnf("read whether pin %s is still wanted: %s", c, err)
		}
		t.checkAgain(r)
	case wanted && !r.tracked:
		log.Infof("pin %s was removed, but is wanted all the same: it is kept", c)
		err := t.PinTracker.Track(t.ctx, pin)
		if r.tracked = err == nil; err != nil { // As with a queue that is full.
			log.Warnf("track pin %s again: %s", c, err)
			t.followAgain(r)
		}
		t.announce(clusterrpc.RecordEvent(pin))
	case !wanted && r.tracked:
		err := t.PinTracker.Untrack(t.ctx, api.NewCid(c))
		if r.tracked = err != nil; err != nil {
			log.Warnf("unpin %s: %s", c, err)
			t.followAgain(r)
		}
		t.announce(clusterrpc.RemovalEvent(api.NewCid(c)))
	}
}

// followAgain has what the tracker refused tried again: by the next check, or by the last one once more.
func (t *Tracker) followAgain(r *removal) {
	if r.checks >= len(t.delays) {
		t.checkAgain(r)
	}
}

// checkAgain has the check that could not be made last made once more, after its delay.
func (t *Tracker) checkAgain(r *removal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if current, ok := t.removals[r.key]; ok && current != r {
		return
	}
	again := &removal{key: r.key, checks: r.checks - 1, tracked: r.tracked, since: time.Now(), failed: true}
	t.watchRemoval(again)
}

// read returns what the state has of a pin that this peer should hold.
func (t *Tracker) read(ctx context.Context, c cid.Cid) (pin api.Pin, wanted bool, err error) {
	st, err := t.state(ctx)
	if err != nil {
		return api.Pin{}, false, err
	}
	pin, err = st.Get(ctx, api.NewCid(c))
	if errors.Is(err, state.ErrNotFound) {
		return api.Pin{}, false, nil
	}
	return pin, err == nil && !pin.IsRemotePin(t.self), err
}
