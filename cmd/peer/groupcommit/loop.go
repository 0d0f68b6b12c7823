package groupcommit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
)

// maxIgnored is how many commits may be ignored by the state before a write fails. The second
// wins against all that this peer has seen; more are needed only when other peers write the
// same key in the same moments.
const maxIgnored = 4

// run makes the commits. It ends when the Committer is closed and nothing waits.
func (c *Committer) run() {
	defer close(c.done)
	for c.await() {
		group := c.park(c.take())
		if len(group) > 0 {
			c.commit(group)
			continue
		}
		pause := time.NewTimer(behindPoll) // All that is left waits for other peers, if any is.
		select {
		case <-c.wake:
		case <-c.cfg.Incoming.Came():
		case <-pause.C:
		}
		pause.Stop()
	}
}

const (
	// behindPoll is how often it is looked whether what a write waits for is given up, and behindWait
	// how long a write waits.
	behindPoll, behindWait = 20 * time.Millisecond, 10 * time.Second
)

// park returns what can be committed now of a group. The CRDT orders the values of a key by the
// height of their blocks, which it takes from the heads, and a removal removes what is there. While
// the peer catches up, heads are low and older values are still to come (U51 in
// docs/upstream-faults.md): a removal, and a new value for a key that has one, wait for what was on
// its way when they came. All that is in the state then; a write that it shows, at once or made anew,
// was not undone by it, and cannot be any more.
func (c *Committer) park(group []*write) (ready []*write) {
	var parked []*write
	for _, w := range group {
		if c.cfg.Incoming.Awaits(w.mark) && (w.parked || c.depends(w)) {
			parked = append(parked, w)
		} else {
			ready = append(ready, w)
		}
	}
	if len(parked) == 0 {
		return group
	}
	c.mu.Lock()
	for _, w := range parked {
		w.parked = true
		switch {
		case c.cfg.NoWait && c.closed:
			ready = append(ready, w)
		case !c.cfg.NoWait && (c.closed || time.Since(w.since) > behindWait):
			err := ErrBehind
			if w.attempts > 0 {
				err = fmt.Errorf("%w: %w", ErrUncertain, err)
			}
			c.finishLocked(w, err)
		}
	}
	c.begun = ready
	c.mu.Unlock()
	c.requeue(slices.DeleteFunc(parked, func(w *write) bool { return slices.Contains(ready, w) }))
	return ready
}

// depends reports whether a write must know what the state has of its key.
func (c *Committer) depends(w *write) bool {
	switch {
	case w.unpin, w.attempts > 0:
		return true
	case w.fresh: // Whatever has come since: its commit is not put off.
		return false
	}
	_, err := c.cfg.State.Get(context.Background(), w.pin.Cid)
	return !errors.Is(err, state.ErrNotFound)
}

// await returns true when a commit is to be made, and false when there will be none.
func (c *Committer) await() bool {
	for {
		c.mu.Lock()
		waiting, closed := len(c.queue), c.closed
		var linger time.Duration
		if waiting > 0 && waiting < c.cfg.LingerSize && c.queue[0].attempts == 0 {
			linger = time.Until(c.queue[0].since.Add(c.cfg.Linger))
		}
		c.mu.Unlock()
		switch {
		case waiting == 0 && closed:
			return false
		case waiting == 0:
			<-c.wake
		case linger <= 0 || closed || c.cfg.Linger <= 0:
			return true
		default:
			timer := time.NewTimer(linger)
			select {
			case <-c.wake:
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}

// take returns the writes of the next commit, oldest first, each key once.
func (c *Committer) take() []*write {
	c.mu.Lock()
	defer c.mu.Unlock()
	var group []*write
	keys, bytes := make(map[cid.Cid]struct{}), 0
	awaited := make(map[uint64]bool) // by mark
	rest := c.queue[:0]
	for i, w := range c.queue {
		if len(group) == c.cfg.MaxGroup || bytes >= c.cfg.MaxBytes {
			rest = append(rest, c.queue[i:]...)
			break
		}
		if w.stage == stageDone {
			continue // Its request has ended.
		}
		_, taken := keys[w.pin.Cid.Cid]
		// What does not fit keeps its key, so that later writes of it stay behind it.
		keys[w.pin.Cid.Cid] = struct{}{}
		if taken || len(group) > 0 && bytes+w.size > c.cfg.MaxBytes || c.staysParked(w, awaited) {
			rest = append(rest, w)
			continue
		}
		w.stage = stageBegun
		group, bytes = append(group, w), bytes+w.size
	}
	clear(c.queue[len(rest):])
	c.queue, c.begun = rest, group
	c.cfg.Metrics.queued.Set(float64(len(c.queue)))
	return group
}

// staysParked reports whether a write goes on waiting for older changes of other peers. Any number may:
// those behind them that wait for nothing are not kept from the commit. It needs the lock. awaited is what
// is known of marks.
func (c *Committer) staysParked(w *write, awaited map[uint64]bool) bool {
	if !w.parked || c.closed || !c.cfg.NoWait && time.Since(w.since) > behindWait {
		return false
	}
	awaits, known := awaited[w.mark]
	if !known {
		awaits = c.cfg.Incoming.Awaits(w.mark)
		awaited[w.mark] = awaits
	}
	return awaits
}

// commit makes one commit and answers its writes, whose commit is on the disk by then (U5 in
// docs/upstream-faults.md).
func (c *Committer) commit(group []*write) {
	began := time.Now()
	ctx, effects := c.cfg.Watch(withMarks(group))
	// Once more: what stood still, so that nothing waited for it, may have come on before it was watched.
	if group = c.park(group); len(group) == 0 {
		return
	}
	var made []*write
	var told bool
	err := c.limit(ctx, func(ctx context.Context) (err error) {
		made, err = c.apply(ctx, effects, group)
		if err != nil || len(made) == 0 {
			return err
		}
		effects.OnSynced(func() {
			c.cfg.Metrics.committed(len(made), time.Since(began))
			c.tellLate(made)
			c.confirmSynced(made, effects)
			runtime.Gosched() // The answers come before the broadcast, which signs.
		})
		told, err = c.commitState(ctx, effects)
		return err
	})
	if err != nil {
		c.fail(made, err)
		counted := effects.Synced()
		if effects, err = c.again(made, effects, told); err != nil {
			return
		}
		if !counted {
			c.cfg.Metrics.committed(len(made), time.Since(began))
		}
	}
	c.confirm(ctx, made, effects)
}

// commitState commits what the state has. It may have told the other peers of it and fail all the same
// (U102 in docs/upstream-faults.md).
func (c *Committer) commitState(ctx context.Context, effects Effects) (told bool, err error) {
	err = c.cfg.State.Commit(ctx)
	return err == nil, cmp.Or(err, effects.Err())
}

// limit makes a try of a commit within MaxTime, as far as the state heeds its context (U100 in
// docs/upstream-faults.md), and tells of one that takes longer.
func (c *Committer) limit(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.MaxTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			log.Errorf("a commit of the shared state has not ended within %s: no change is accepted until it does", c.cfg.MaxTime)
		}
	})()
	return try(ctx)
}

// confirmSynced answers the writes that the state shows without a doubt. The others, and all that a
// failure concerns that comes after the sync, are for confirm and fail.
func (c *Committer) confirmSynced(made []*write, effects Effects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range made {
		switch {
		case w.changed:
			c.finishLocked(w, ErrChanged)
		case shownBy(effects, w):
			c.finishLocked(w, nil)
		}
	}
}

// shownBy reports whether the effects of a commit say that the state shows a write.
func shownBy(effects Effects, w *write) bool {
	if w.unpin {
		return effects.Of(w.pin.Cid) == EffectRemoved
	}
	return effects.Of(w.pin.Cid) == EffectAdded
}

// apply puts the writes of a group into the commit, and returns those that are in it. Its error is
// that of a commit that the state made by itself, as it does for a delta above its limit.
func (c *Committer) apply(ctx context.Context, effects Effects, group []*write) (made []*write, err error) {
	for i, w := range group {
		if err = c.check(ctx, w); err != nil { // The fault of no commit, though one may have begun.
			c.drop(w, err)
			continue
		}
		if err = c.put(ctx, w); err == nil {
			made = append(made, w)
			continue
		}
		if !effects.Begun() {
			c.drop(w, err)
			continue
		}
		c.requeue(group[i+1:])
		return append(made, w), err
	}
	return made, nil
}

// drop answers a write that is not put into a commit.
func (c *Committer) drop(w *write, err error) {
	if w.attempts > 0 {
		err = fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	c.finish(w, err)
}

// put puts a write into the commit that is being made. One that the state ignored before is put
// in the form that wins: the removal of every value that this peer has seen, and the new value.
func (c *Committer) put(ctx context.Context, w *write) error {
	switch {
	case w.unpin && w.holds != nil:
		return c.removeIf(ctx, w)
	case w.unpin:
		return c.cfg.State.Rm(ctx, w.pin.Cid)
	}
	if w.attempts > 0 {
		if err := c.cfg.State.Rm(ctx, w.pin.Cid); err != nil {
			return err
		}
	}
	return c.cfg.State.Add(ctx, w.pin)
}

// requeue puts writes back in front of the queue.
func (c *Committer) requeue(writes []*write) {
	if len(writes) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	front := make([]*write, 0, len(writes)+len(c.queue))
	for _, w := range writes {
		if w.stage == stageBegun {
			w.stage = stageQueued
			front = append(front, w)
		}
	}
	c.queue = append(front, c.queue...)
	if c.refusal() != nil {
		c.refuseQueued()
	}
}

// confirm answers the writes that the state shows, and commits the others again (U51 in
// docs/upstream-faults.md).
func (c *Committer) confirm(ctx context.Context, made []*write, effects Effects) {
	var ignored []*write
	for _, w := range made {
		switch { // Whatever has come in its place since: it is not to be made again.
		case w.changed:
			c.finish(w, ErrChanged)
			continue
		case w.givenUp:
			continue
		}
		shown, err := c.shows(ctx, w, effects)
		switch {
		case err != nil:
			c.finish(w, fmt.Errorf("%w: %w", ErrUncertain, err))
		case shown:
			c.finish(w, nil)
		case w.failed && (w.unpin || c.overtaken(ctx, w)): // To make it anew would undo what came since.
			c.finish(w, errGivenUp)
		case w.attempts+1 == maxIgnored:
			c.finish(w, fmt.Errorf("%w: the state does not show it after %d commits", ErrUncertain, maxIgnored))
		default:
			c.cfg.Metrics.ignored.Inc()
			ignored = append(ignored, w)
		}
	}
	c.mu.Lock()
	c.begun = nil
	for _, w := range ignored {
		w.attempts++
	}
	c.mu.Unlock()
	c.requeue(ignored)
}

// shows reports whether the state has what a write made of it.
func (c *Committer) shows(ctx context.Context, w *write, effects Effects) (bool, error) {
	if shownBy(effects, w) {
		return true, nil
	}
	rec, err := c.cfg.State.Get(ctx, w.pin.Cid)
	if errors.Is(err, state.ErrNotFound) {
		return w.unpin, nil
	}
	if err != nil || w.unpin {
		return false, err
	}
	return sameRecord(rec, w.pin), nil
}

func sameRecord(a, b api.Pin) bool {
	recordA, errA := a.ProtoMarshal()
	recordB, errB := b.ProtoMarshal()
	return errA == nil && errB == nil && string(recordA) == string(recordB)
}

// fail answers the writes of a commit that failed, and refuses all others until it succeeds.
func (c *Committer) fail(made []*write, cause error) {
	c.cfg.Metrics.failed.Inc()
	log.Errorf("commit %d changes of the shared state: %s", len(made), cause)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing = fmt.Errorf("%w: its last commit failed and is tried again: %w", ErrUnavailable, cause)
	if !c.cfg.NoWait {
		for _, w := range made {
			c.finishLocked(w, fmt.Errorf("%w: %w", ErrUncertain, cause))
		}
	}
	c.refuseQueued()
}
