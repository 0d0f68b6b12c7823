package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// gate makes the commits of a fake wait for a token each; entered gets one for each that waits.
type gate struct{ entered, tokens chan struct{} }

func newGate(f *fake) *gate {
	g := &gate{entered: make(chan struct{}, 1000), tokens: make(chan struct{}, 1000)}
	f.before = func() {
		g.entered <- struct{}{}
		<-g.tokens
	}
	return g
}

func (g *gate) pass(n int) {
	for range n {
		g.tokens <- struct{}{}
	}
}

// begin calls a write in a goroutine and returns its answer's channel, once it is queued.
func begin(t *testing.T, c *Committer, queued int, do func() error) chan error {
	t.Helper()
	answer := make(chan error, 1)
	go func() { answer <- do() }()
	waitQueued(t, c, queued)
	return answer
}

func waitQueued(t *testing.T, c *Committer, n int) {
	t.Helper()
	await.Success(t, "the queue", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if queued := len(c.queue); queued != n {
			return fmt.Errorf("%d writes wait, want %d", queued, n)
		}
		return nil
	})
}

// Writes that come during a commit share the next one, and one that is alone does not wait.
func TestCommitter_GroupsWhatCameDuringACommit(t *testing.T) {
	f := newFake()
	g := newGate(f)
	c := start(t, f)
	first := begin(t, c, 0, func() error { return c.Pin(t.Context(), pinOf(0, "alone")) })
	<-g.entered
	var wg sync.WaitGroup
	for n := range 300 {
		wg.Go(func() {
			if err := c.Pin(t.Context(), pinOf(n+1, "together")); err != nil {
				t.Error(err)
			}
		})
	}
	waitQueued(t, c, 300)
	g.pass(3)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	var sizes []int
	f.set(func() {
		for _, commit := range f.commits {
			sizes = append(sizes, len(commit))
		}
	})
	if fmt.Sprint(sizes) != "[1 256 44]" {
		t.Errorf("commits of %v writes", sizes)
	}
}

// A key stands once in a commit, and its writes are made in their order.
func TestCommitter_OrderOfOneKey(t *testing.T) {
	f := newFake()
	g := newGate(f)
	c := start(t, f)
	answers := []chan error{begin(t, c, 0, func() error { return c.Pin(t.Context(), pinOf(0, "first")) })}
	<-g.entered
	for n, do := range []func() error{
		func() error { return c.Pin(t.Context(), pinOf(1, "a")) },
		func() error { return c.Unpin(t.Context(), keyOf(1)) },
		func() error { return c.Pin(t.Context(), pinOf(2, "x")) },
		func() error { return c.Pin(t.Context(), pinOf(1, "b")) },
		func() error { return c.Unpin(t.Context(), keyOf(2)) },
	} {
		answers = append(answers, begin(t, c, n+1, do))
	}
	g.pass(4)
	for _, answer := range answers {
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
	}
	one, two := keyOf(1).String(), keyOf(2).String()
	if want := [][]string{{keyOf(0).String()}, {one, two}, {one, two}, {one}}; fmt.Sprint(f.commits) != fmt.Sprint(want) {
		t.Errorf("commits %v, want %v", f.commits, want)
	}
	if f.name(keyOf(1)) != "b" || f.name(keyOf(2)) != "" {
		t.Errorf("the state has %q and %q", f.name(keyOf(1)), f.name(keyOf(2)))
	}
}

// A commit stays below the size at which the CRDT would commit by itself.
func TestCommitter_BoundsTheBytesOfACommit(t *testing.T) {
	f := newFake()
	g := newGate(f)
	c := start(t, f, func(cfg *Config) { cfg.MaxBytes = 10_000 })
	answers := []chan error{begin(t, c, 0, func() error { return c.Pin(t.Context(), pinOf(0, "first")) })}
	<-g.entered
	for n := range 6 {
		size := 3000
		if n == 3 {
			size = 20_000 // More than a commit by itself.
		}
		answers = append(answers, begin(t, c, n+1, func() error { return c.Pin(t.Context(), pinOf(n+1, strings.Repeat("n", size))) }))
	}
	g.pass(4)
	for _, answer := range answers {
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
	}
	var sizes []int
	for _, commit := range f.commits {
		sizes = append(sizes, len(commit))
	}
	if fmt.Sprint(sizes) != "[1 3 1 2]" && fmt.Sprint(sizes) != "[1 5 1]" {
		t.Errorf("commits of %v writes", sizes)
	}
}

func TestCommitter_AFaultOfOneWriteFailsNoOther(t *testing.T) {
	f := newFake()
	g := newGate(f)
	c := start(t, f)
	broken := errors.New("broken")
	f.set(func() { f.broken[keyOf(2).String()] = broken })
	first := begin(t, c, 0, func() error { return c.Pin(t.Context(), pinOf(0, "first")) })
	<-g.entered
	one := begin(t, c, 1, func() error { return c.Pin(t.Context(), pinOf(1, "one")) })
	two := begin(t, c, 2, func() error { return c.Unpin(t.Context(), keyOf(2)) })
	ended, cancel := context.WithCancel(t.Context())
	three := begin(t, c, 3, func() error { return c.Pin(ended, pinOf(3, "three")) })
	cancel()
	if err := <-three; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUncertain) {
		t.Errorf("a write whose request ended in the queue: %v", err)
	}
	four := begin(t, c, 4, func() error { return c.Pin(t.Context(), pinOf(4, "four")) })
	g.pass(2)
	if err := errors.Join(<-first, <-one, <-four); err != nil {
		t.Error(err)
	}
	if err := <-two; !errors.Is(err, broken) || errors.Is(err, ErrUncertain) {
		t.Errorf("the broken write: %v", err)
	}
	if f.name(keyOf(1)) != "one" || f.name(keyOf(3)) != "" || f.name(keyOf(4)) != "four" {
		t.Errorf("the state has %v", f.values)
	}
}

// A failed commit is committed again before anything else; its callers learn that it may take
// effect, the others that nothing was done.
func TestCommitter_AFailedCommitIsMadeBeforeAllOthers(t *testing.T) {
	for name, failure := range map[string]fault{"before the merge": faultBefore, "after the merge": faultMerged} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			g := newGate(f)
			failures := 3
			f.next = func() fault {
				if failures--; failures >= 0 {
					return failure
				}
				return faultNone
			}
			c := start(t, f)
			first := begin(t, c, 0, func() error { return c.Pin(t.Context(), pinOf(0, "first")) })
			<-g.entered
			waits := begin(t, c, 1, func() error { return c.Pin(t.Context(), pinOf(1, "waits")) })
			g.pass(1)
			if err := <-first; !errors.Is(err, ErrUncertain) || !errors.Is(err, errDisk) {
				t.Errorf("the failed commit: %v", err)
			}
			if err := <-waits; !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain) {
				t.Errorf("a write behind it: %v", err)
			}
			if err := c.Pin(t.Context(), pinOf(2, "later")); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a write meanwhile: %v", err)
			}
			g.pass(3)
			await.Success(t, "the commit is made again", func() error {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.refusal()
			})
			if f.name(keyOf(0)) != "first" || f.orphans[keyOf(0).String()] {
				t.Errorf("the state has %v, of which %v no other peer has", f.values, f.orphans)
			}
			g.pass(1)
			if err := c.Unpin(t.Context(), keyOf(0)); err != nil {
				t.Error(err)
			}
			if f.name(keyOf(0)) != "" {
				t.Error("the delete was undone")
			}
		})
	}
}

// The state of a peer that is catching up ignores a write at first (U51).
func TestCommitter_AnIgnoredWriteIsCommittedUntilItIsThere(t *testing.T) {
	f := newFake()
	c := start(t, f)
	f.set(func() {
		f.lagging[keyOf(1).String()] = true
		f.values[keyOf(1).String()] = pinOf(1, "theirs")
	})
	if err := c.Pin(t.Context(), pinOf(1, "ours")); err != nil {
		t.Fatal(err)
	}
	if f.name(keyOf(1)) != "ours" || len(f.commits) != 2 {
		t.Errorf("the state has %q after %d commits", f.name(keyOf(1)), len(f.commits))
	}
}

func TestCommitter_ARequestThatEndsInItsCommitIsUncertain(t *testing.T) {
	f := newFake()
	g := newGate(f)
	c := start(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	answer := begin(t, c, 0, func() error { return c.Pin(ctx, pinOf(1, "a")) })
	<-g.entered
	cancel()
	if err := <-answer; !errors.Is(err, ErrUncertain) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	g.pass(1)
}

func TestCommitter_CloseCommitsWhatWasAccepted(t *testing.T) {
	for name, noWait := range map[string]bool{"waiting": false, "not waiting": true} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			c := New(Config{State: f, Watch: watchFake, Linger: time.Hour, NoWait: noWait})
			var wg sync.WaitGroup
			for n := range 20 {
				wg.Go(func() {
					if err := c.Pin(t.Context(), pinOf(n, "kept")); err != nil {
						t.Error(err)
					}
				})
			}
			waitQueued(t, c, 20)
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if len(f.values) != 20 {
				t.Errorf("%d of 20 are committed", len(f.values))
			}
			if err := c.Unpin(t.Context(), keyOf(1)); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// A commit that cannot be made does not keep the process for ever.
func TestCommitter_CloseGivesUpACommitThatFails(t *testing.T) {
	f := newFake()
	f.next = func() fault { return faultBefore }
	c := New(Config{State: f, Watch: watchFake, RetryMin: time.Millisecond})
	if err := c.Pin(t.Context(), pinOf(1, "a")); !errors.Is(err, ErrUncertain) {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// As upstream's batches: by size, by age, and refused above the queue.
func TestCommitter_Batches(t *testing.T) {
	f := newFake()
	c := start(t, f, func(cfg *Config) { cfg.Linger, cfg.LingerSize, cfg.MaxQueue = time.Hour, 3, 3 })
	one := begin(t, c, 1, func() error { return c.Pin(t.Context(), pinOf(1, "a")) })
	two := begin(t, c, 2, func() error { return c.Pin(t.Context(), pinOf(2, "a")) })
	if err := errors.Join(c.Pin(t.Context(), pinOf(3, "a")), <-one, <-two); err != nil {
		t.Fatal(err)
	}
	if len(f.commits) != 1 {
		t.Errorf("commits %v", f.commits)
	}

	aged := newFake()
	c = start(t, aged, func(cfg *Config) { cfg.Linger, cfg.LingerSize = 50*time.Millisecond, 100 })
	began := time.Now()
	if err := c.Pin(t.Context(), pinOf(1, "a")); err != nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("committed after %s: %v", time.Since(began), err)
	}

	full := newFake()
	c = start(t, full, func(cfg *Config) { cfg.Linger, cfg.LingerSize, cfg.MaxQueue, cfg.NoWait = time.Hour, 100, 2, true })
	if err := errors.Join(c.Pin(t.Context(), pinOf(1, "a")), c.Pin(t.Context(), pinOf(2, "a"))); err != nil {
		t.Fatal(err)
	}
	if err := c.Pin(t.Context(), pinOf(3, "a")); !errors.Is(err, ErrQueueFull) {
		t.Error(err)
	}
}

// While the disk is full nobody waits for it, and a commit that it holds up goes on later.
func TestCommitter_SuspendEndsWhatWaits(t *testing.T) {
	f := newFake()
	g := newGate(f)
	c := start(t, f)
	full := errors.New("no space left on device")
	begun := begin(t, c, 0, func() error { return c.Pin(t.Context(), pinOf(1, "begun")) })
	<-g.entered
	waits := begin(t, c, 1, func() error { return c.Pin(t.Context(), pinOf(2, "waits")) })
	c.Suspend(full)
	if err := <-begun; !errors.Is(err, ErrUncertain) || !errors.Is(err, full) {
		t.Error(err)
	}
	if err := <-waits; !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain) {
		t.Error(err)
	}
	if err := c.Pin(t.Context(), pinOf(3, "meanwhile")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, full) {
		t.Error(err)
	}
	c.Resume()
	g.pass(2)
	if err := c.Pin(t.Context(), pinOf(4, "later")); err != nil {
		t.Error(err)
	}
	if f.name(keyOf(1)) != "begun" || f.name(keyOf(2)) != "" {
		t.Errorf("the state has %v", f.values)
	}
}

var _ State = (*fake)(nil)
