package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// A failed commit stays in the state, which would add the next writes to it, so it is made again
// before anything else. That can be hours later. Then
//
//   - what the failed tries left is removed (Effects.Undo): it would live on at this peer alone (U53),
//   - a record is added again only where nobody else has changed it since: a pending write undoes no
//     newer one,
//   - a removal is not put again. The removals of what was there at first are still in the commit, and
//     others would be of what came since,
//   - nothing is added again of a commit that was synced, and whose writes are answered by that, or that
//     other peers were told of. Others may have seen it, and have changed it since. The commit that
//     follows has nothing in it, and leads to that one (U95, U102).

// base is a record of the key of a write, if there is one.
type base struct {
	rec   api.Pin
	there bool
}

// is reports whether the state has that record of the key.
func (b *base) is(rec api.Pin, there bool) bool {
	return there == b.there && (!there || sameRecord(rec, b.rec))
}

// failures are the tries of a commit that have failed, however many.
type failures struct {
	last    Effects // knows what the tries before it have left
	told    bool    // other peers were told of the last one
	synced  bool    // one of them is on the disk
	settled bool    // one of them is on the disk, or other peers were told of it
}

// add notes a failed try.
func (f *failures) add(made []*write, effects Effects, told bool) {
	f.last, f.told = effects, told
	f.synced = f.synced || effects.Synced()
	f.settled = f.settled || f.synced || told
	for _, w := range made {
		w.noteFailure(effects)
	}
}

// added is the record that a write adds, if it does.
func (w *write) added() api.Pin {
	if w.kept != nil {
		return *w.kept
	}
	return w.pin
}

func (w *write) noteFailure(effects Effects) {
	w.failed = true
	before, there, known := effects.Before(w.pin.Cid)
	switch effects.Of(w.pin.Cid) {
	case EffectAdded:
		w.base = &base{w.added(), true}
		switch {
		case w.beneath != nil: // What a try before hid.
		case w.attempts > 0 || w.kept != nil: // It has removed what was there.
			w.beneath = &base{}
		case known:
			w.beneath = &base{before, there}
		}
	case EffectRemoved:
		w.base = &base{}
	default:
		switch {
		case w.base == nil && known:
			w.base = &base{before, there}
		case effects.Of(w.pin.Cid) == EffectKept && w.beneath != nil: // What the tries before have left is removed.
			w.base = w.beneath
		}
	}
}

// overtaken reports whether the state has another record of the key of a failed write than that write
// and its tries account for, as far as can be read.
func (c *Committer) overtaken(ctx context.Context, w *write) bool {
	overtaken, err := c.isOvertaken(ctx, w)
	return err == nil && overtaken
}

func (c *Committer) isOvertaken(ctx context.Context, w *write) (bool, error) {
	rec, there, err := c.record(ctx, w)
	switch {
	case err != nil:
		return false, err
	case w.base == nil: // It has not come into a commit.
		w.base = &base{rec, there}
		return false, nil
	}
	return !w.base.is(rec, there) && !(there && sameRecord(rec, w.added())), nil
}

func (c *Committer) record(ctx context.Context, w *write) (rec api.Pin, there bool, err error) {
	rec, err = c.cfg.State.Get(ctx, w.pin.Cid)
	if errors.Is(err, state.ErrNotFound) {
		return api.Pin{}, false, nil
	}
	return rec, err == nil, err
}

// isOvertakenBeneath is isOvertaken before a failed try is undone. What that has left of the write may be
// all that the state shows, and hide that another peer has removed or changed what was there before it.
func (c *Committer) isOvertakenBeneath(ctx, undo context.Context, w *write) (bool, error) {
	if overtaken, err := c.isOvertaken(ctx, w); err != nil || overtaken || w.beneath == nil {
		return overtaken, err
	}
	rec, there, err := c.record(undo, w)
	return err == nil && !w.beneath.is(rec, there), err
}

// again commits a failed commit again until it succeeds, and returns what that did. When the Committer is
// closed it tries once more, and gives up with the error.
func (c *Committer) again(made []*write, effects Effects, told bool) (Effects, error) {
	retry := backoff.Counter{Policy: backoff.Policy{Min: c.cfg.RetryMin, Max: c.cfg.RetryMax, Jitter: 0.2}}
	var failed failures
	for pause := retry.Next(); ; {
		failed.add(made, effects, told)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.wake: // Close, as no write is accepted.
		}
		timer.Stop()
		c.mu.Lock()
		closed := c.closed
		c.mu.Unlock()
		var ctx context.Context
		told = false
		ctx, effects = c.cfg.Watch(withMarks(made))
		err := c.limit(ctx, func(ctx context.Context) (err error) {
			if err := c.putAgain(ctx, made, &failed); err != nil {
				return err
			}
			effects.OnSynced(func() { c.tellLate(made) })
			told, err = c.commitState(ctx, effects)
			return err
		})
		if errors.Is(err, ErrUndoFirst) {
			pause = 0
			continue
		}
		if err == nil {
			log.Infof("committed %d changes of the shared state after %d tries", len(made), retry.Attempts()+1)
			c.goOn()
			return effects, nil
		}
		c.cfg.Metrics.failed.Inc()
		if closed {
			failed.add(made, effects, told)
			c.notMade(len(made), failed, err)
			c.giveUp(err)
			return effects, err
		}
		log.Warnf("commit %d changes of the shared state: try %d: %s", len(made), retry.Attempts()+1, err)
		pause = retry.Next()
	}
}

func (c *Committer) notMade(changes int, failed failures, err error) {
	switch {
	case failed.synced:
		log.Warnf("the other peers have not been told of %d changes, which are committed: %s", changes, err)
	case failed.settled:
		log.Errorf("%d changes of the shared state, of which the other peers have been told, may not be on the disk: %s", changes, err)
	default:
		log.Errorf("%d changes of the shared state are not committed: %s", changes, err)
	}
}

// putAgain makes of what the state has kept of a failed commit what is still to be done.
func (c *Committer) putAgain(ctx context.Context, made []*write, failed *failures) error {
	undo := failed.last.Undo(ctx, failed.told)
	for _, w := range made {
		if err := c.putOneAgain(ctx, undo, w, failed.settled); err != nil {
			return err
		}
	}
	return nil
}

// putOneAgain gives a write up that another peer has overtaken. What its tries have left is undone with
// the others', which may take more tries.
func (c *Committer) putOneAgain(ctx, undo context.Context, w *write, settled bool) error {
	removal := w.unpin && w.kept == nil
	if removal && !settled {
		return nil
	}
	if err := c.cfg.State.Rm(undo, w.pin.Cid); err != nil { // Without it, there may be no commit at all.
		return err
	}
	if settled || w.givenUp {
		return nil
	}
	overtaken, err := c.isOvertakenBeneath(ctx, undo, w)
	if err != nil {
		return err
	}
	if overtaken {
		log.Warnf("the change of pin %s, which failed, is given up: another peer has changed it since", w.pin.Cid)
		w.givenUp = true
		c.finish(w, errGivenUp)
		return nil
	}
	return c.cfg.State.Add(ctx, w.added())
}

// errGivenUp is the error of a failed write after which another peer has written.
var errGivenUp = fmt.Errorf("%w: %w", ErrUncertain, ErrChanged)

// tellLate tells of the writes of a commit, which is on the disk, that were answered before.
func (c *Committer) tellLate(made []*write) {
	if c.cfg.NoWait {
		return // All were.
	}
	for _, w := range c.answered(made) {
		c.cfg.OnLate(w.added(), !w.unpin || w.kept != nil)
	}
}

// answered returns the writes that nobody waits for any more.
func (c *Committer) answered(made []*write) (answered []*write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range made {
		if !w.givenUp && (w.stage == stageDone || w.ctx.Err() != nil) {
			answered = append(answered, w)
		}
	}
	return answered
}

// goOn ends fail.
func (c *Committer) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing = nil
}

// giveUp ends the writes that wait behind a commit that cannot be made.
func (c *Committer) giveUp(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range append(c.begun, c.queue...) {
		c.finishLocked(w, fmt.Errorf("%w: %w", ErrUncertain, cause))
	}
	c.queue, c.begun = nil, nil
}
