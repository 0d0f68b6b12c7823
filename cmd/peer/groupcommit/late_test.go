package groupcommit

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// lateChanges are what OnLate was called with.
type lateChanges struct {
	mu  sync.Mutex
	all []string
}

func (l *lateChanges) onLate(rec api.Pin, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := rec.Name
	if !found {
		name = "removal of " + rec.Cid.String()
	}
	l.all = append(l.all, name)
}

func (l *lateChanges) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// A change whose client was told that it may still take effect is told of when it does, before other
// peers hear of it: whether its commit was held up, or failed and was made again.
func TestCommitter_TellsOfWhatIsCommittedLate(t *testing.T) {
	f, late := newFake(), new(lateChanges)
	told := make(chan []string, 100)
	f.tell = func() { told <- late.take() }
	c := start(t, f, func(cfg *Config) { cfg.Watch, cfg.OnLate = watchFake, late.onLate })
	if err := c.Pin(t.Context(), pinOf(1, "in time")); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got != nil {
		t.Errorf("told of %v, whose write waited", got)
	}

	g := newGate(f)
	begun := begin(t, c, 0, func() error { return c.Pin(t.Context(), pinOf(2, "held up")) })
	<-g.entered
	c.Suspend(errors.New("no space left on device"))
	if err := <-begun; !errors.Is(err, ErrUncertain) {
		t.Error(err)
	}
	g.pass(1)
	if got := <-told; !slices.Equal(got, []string{"held up"}) {
		t.Errorf("told of %v", got)
	}
	c.Resume()

	ctx, cancel := context.WithCancel(t.Context())
	abandoned := begin(t, c, 0, func() error { return c.Unpin(ctx, keyOf(2)) })
	<-g.entered
	cancel()
	if err := <-abandoned; !errors.Is(err, ErrUncertain) {
		t.Error(err)
	}
	g.pass(1)
	if got := <-told; !slices.Equal(got, []string{"removal of " + keyOf(2).String()}) {
		t.Errorf("told of %v", got)
	}

	for _, failure := range []fault{faultBefore, faultMerged} {
		faults := []fault{failure, failure}
		f.set(func() {
			f.next = func() fault {
				if len(faults) == 0 {
					return faultNone
				}
				defer func() { faults = faults[1:] }()
				return faults[0]
			}
		})
		g.pass(3)
		err := ErrUnavailable
		for errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUncertain) { // The commit before has not ended.
			runtime.Gosched()
			err = c.Pin(t.Context(), pinOf(3, "again"))
		}
		if !errors.Is(err, ErrUncertain) {
			t.Error(err)
		}
		if got := <-told; !slices.Equal(got, []string{"again"}) {
			t.Errorf("told of %v", got)
		}
		for range 3 {
			<-g.entered
		}
	}
	g.pass(1000)
}

// Of a write that is accepted unseen nobody was told otherwise.
func TestCommitter_NothingIsLateThatNobodyWaitsFor(t *testing.T) {
	f, late := newFake(), new(lateChanges)
	told := make(chan []string, 100)
	f.tell = func() { told <- late.take() }
	c := start(t, f, func(cfg *Config) { cfg.Watch, cfg.OnLate, cfg.NoWait = watchFake, late.onLate, true })
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Pin(ctx, pinOf(1, "unseen")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if got := <-told; got != nil {
		t.Errorf("told of %v", got)
	}
}
