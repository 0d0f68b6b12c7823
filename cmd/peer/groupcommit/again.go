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

// base is what the state had of the key of a write when that was put into a commit, or what a failed
// try of that has made of it.
type base struct {
	rec   api.Pin
	there bool
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
	switch effects.Of(w.pin.Cid) {
	case EffectAdded:
		w.base = &base{w.added(), true}
	case EffectRemoved:
		w.base = &base{}
	default:
		if rec, there, known := effects.Before(w.pin.Cid); known && w.base == nil {
			w.base = &base{rec, there}
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
	rec, err := c.cfg.State.Get(ctx, w.pin.Cid)
	there := !errors.Is(err, state.ErrNotFound)
	switch {
	case there && err != nil:
		return false, err
	case w.base == nil: // It has not come into a commit.
		w.base = &base{rec, there}
		return false, nil
	case !there || !w.base.there:
		return there != w.base.there && !(there && sameRecord(rec, w.added())), nil
	}
	return !sameRecord(rec, w.base.rec) && !sameRecord(rec, w.added()), nil
}

// again commits a failed commit again until it succeeds, and returns the writes that are in it. When
// the Committer is closed it tries once more, and gives up with the error.
func (c *Committer) again(made []*write, effects Effects, told bool) ([]*write, Effects, error) {
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
			if made, err = c.putAgain(ctx, made, &failed); err != nil {
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
			c.accept()
			return made, effects, nil
		}
		c.cfg.Metrics.failed.Inc()
		if closed {
			failed.add(made, effects, told)
			c.notMade(len(made), failed, err)
			c.giveUp(err)
			return made, effects, err
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

// putAgain makes of what the state has kept of a failed commit what is still to be done, and returns
// the writes that it is made of.
func (c *Committer) putAgain(ctx context.Context, made []*write, failed *failures) (rest []*write, err error) {
	undo := failed.last.Undo(ctx, failed.told)
	rest = make([]*write, 0, len(made))
	for i, w := range made {
		kept, err := c.putOneAgain(ctx, undo, w, failed.settled)
		if err != nil {
			return append(rest, made[i:]...), err
		}
		if kept {
			rest = append(rest, w)
		}
	}
	return rest, nil
}

// putOneAgain returns false for a write that is given up.
func (c *Committer) putOneAgain(ctx, undo context.Context, w *write, settled bool) (kept bool, err error) {
	removal := w.unpin && w.kept == nil
	if removal && !settled {
		return true, nil
	}
	if !removal {
		c.hold(w)
	}
	if err := c.cfg.State.Rm(undo, w.pin.Cid); err != nil { // Without it, there may be no commit at all.
		return true, err
	}
	if settled {
		return true, nil
	}
	overtaken, err := c.isOvertaken(ctx, w)
	if err != nil {
		return true, err
	}
	if overtaken {
		log.Warnf("the change of pin %s, which failed, is given up: another peer has changed it since", w.pin.Cid)
		c.finish(w, fmt.Errorf("%w: %w", ErrUncertain, ErrChanged))
		c.release(w)
		return false, nil
	}
	return true, c.cfg.State.Add(ctx, w.added())
}

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
		if w.stage == stageDone || w.ctx.Err() != nil {
			answered = append(answered, w)
		}
	}
	return answered
}

// accept ends fail.
func (c *Committer) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.full {
		c.refuse = nil
	}
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
