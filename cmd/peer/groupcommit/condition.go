package groupcommit

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
)

// PinIf is Pin in the place of a record of which holds is true; for another one, and where there is
// none, it returns ErrChanged. holds is called when the commit is made, and must not block. A record
// of another peer that comes between that and the end of the commit is replaced.
func (c *Committer) PinIf(ctx context.Context, pin api.Pin, holds func(api.Pin) bool) error {
	return c.pin(&write{ctx: ctx, pin: pin, holds: holds})
}

// UnpinIf is Unpin for a record of which holds is true, as PinIf is Pin. That there is no record any
// more is no change.
func (c *Committer) UnpinIf(ctx context.Context, key api.Cid, holds func(api.Pin) bool) error {
	return c.submit(&write{ctx: ctx, pin: api.PinCid(key), unpin: true, holds: holds, size: elementBytes})
}

// look reads the record that a write with a condition is about, and reports whether that is met.
func (c *Committer) look(ctx context.Context, w *write) (rec api.Pin, met bool, err error) {
	rec, err = c.cfg.State.Get(ctx, w.pin.Cid)
	if errors.Is(err, state.ErrNotFound) {
		return rec, w.unpin, nil
	}
	return rec, err == nil && w.holds(rec), err
}

// check returns ErrChanged when the condition of a write, if it has one, is not met.
func (c *Committer) check(ctx context.Context, w *write) error {
	if w.holds == nil {
		return nil
	}
	_, met, err := c.look(ctx, w)
	if err == nil && !met {
		return ErrChanged
	}
	return err
}

// removeIf puts a removal whose condition was met into the commit. Another peer's record may have come
// between the look and the removal, which removes it then: it is added again by the same commit.
func (c *Committer) removeIf(ctx context.Context, w *write) error {
	if err := c.cfg.State.Rm(ctx, w.pin.Cid); err != nil {
		return err
	}
	rec, met, err := c.look(ctx, w)
	if err != nil { // The removal is in the commit.
		c.finish(w, fmt.Errorf("%w: %w", ErrUncertain, err))
		return nil
	}
	if met {
		return nil
	}
	w.changed, w.kept = true, &rec
	return c.cfg.State.Add(ctx, rec)
}
