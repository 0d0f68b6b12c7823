package groupcommit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// stuck is a state whose next calls of one kind last as long as their contexts.
type stuck struct {
	*fake
	commits, removals int // how many are left; the lock of the fake guards them
}

func (s *stuck) wait(ctx context.Context, left *int) (err error) {
	waits := false
	s.set(func() {
		waits = *left > 0
		*left--
	})
	if !waits {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *stuck) Commit(ctx context.Context) error {
	if err := s.wait(ctx, &s.commits); err != nil {
		return err
	}
	return s.fake.Commit(ctx)
}

func (s *stuck) Rm(ctx context.Context, c api.Cid) error {
	if err := s.wait(ctx, &s.removals); err != nil {
		return err
	}
	return s.fake.Rm(ctx, c)
}

// A commit that would last for ever ends, its client is told, and the next ones are made.
func TestCommitter_ACommitThatHangsEnds(t *testing.T) {
	s := &stuck{fake: newFake(), commits: 3}
	c := start(t, s.fake, func(cfg *Config) { cfg.State, cfg.MaxTime = s, 20*time.Millisecond })
	if err := c.Pin(t.Context(), pinOf(1, "pin")); !errors.Is(err, ErrUncertain) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a commit that hangs: %v", err)
	}
	accepted(t, c)
	if got := s.name(keyOf(1)); got != "pin" {
		t.Errorf("the state has %q", got)
	}
}

// So does a removal that cannot even be put into a commit: nothing is done of it, and the others go on.
func TestCommitter_ARemovalThatHangsEnds(t *testing.T) {
	s := &stuck{fake: newFake(), removals: 1}
	c := start(t, s.fake, func(cfg *Config) { cfg.State, cfg.MaxTime = s, 20*time.Millisecond })
	if err := c.Pin(t.Context(), pinOf(1, "pin")); err != nil {
		t.Fatal(err)
	}
	if err := c.Unpin(t.Context(), keyOf(1)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUncertain) {
		t.Errorf("a removal that hangs: %v", err)
	}
	if err := c.Unpin(t.Context(), keyOf(1)); err != nil || s.name(keyOf(1)) != "" {
		t.Errorf("%v, %q", err, s.name(keyOf(1)))
	}
}

// The disk was full while a commit was tried again. That there is space does not mean that it is made: until
// then others are refused, and do not wait for it.
func TestCommitter_ResumeAcceptsNothingBeforeAFailedCommit(t *testing.T) {
	f := newFake()
	f.next = func() fault { return faultBefore }
	c := start(t, f)
	if err := c.Pin(t.Context(), pinOf(1, "pin")); !errors.Is(err, ErrUncertain) {
		t.Errorf("the commit did not fail: %v", err)
	}
	c.Suspend(errDisk)
	c.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Pin(ctx, pinOf(2, "meanwhile")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a write meanwhile: %v", err)
	}
	f.set(func() { f.next = func() fault { return faultNone } })
	accepted(t, c)
}
