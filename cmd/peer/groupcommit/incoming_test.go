package groupcommit

import (
	"context"
	"errors"
	"testing"
	"time"
)

// walks are changes of other peers that come in the order of their numbers.
type walks struct {
	f            *fake // its lock guards the fields
	begun, ended uint64
	came         chan struct{}
}

func newWalks(f *fake) *walks { return &walks{f: f, came: make(chan struct{}, 1)} }

func (w *walks) Mark() (mark uint64) {
	w.f.set(func() { mark = w.begun })
	return mark
}

func (w *walks) Awaits(mark uint64) (awaits bool) {
	w.f.set(func() { awaits = w.ended < min(mark, w.begun) })
	return awaits
}

func (w *walks) Came() <-chan struct{} { return w.came }

func (w *walks) begin() { w.f.set(func() { w.begun++ }) }

func (w *walks) end() {
	w.f.set(func() { w.ended++ })
	select {
	case w.came <- struct{}{}:
	default: // It has not been noticed that others have come.
	}
}

// A change waits for what was on its way when it came, and not for what sets out later: with others that
// write all the time there is never a moment without any.
func TestCommitter_AChangeWaitsForWhatWasOnItsWay(t *testing.T) {
	f := newFake()
	incoming := newWalks(f)
	c := start(t, f, func(cfg *Config) { cfg.Incoming = incoming })
	if err := c.Pin(t.Context(), pinOf(1, "before")); err != nil {
		t.Fatal(err)
	}
	change := func(name string) <-chan error {
		answer, came := make(chan error, 1), make(chan struct{})
		go func() {
			close(came)
			if name == "" {
				answer <- c.Unpin(t.Context(), keyOf(1))
			} else {
				answer <- c.Pin(t.Context(), pinOf(1, name))
			}
		}()
		<-came
		for { // Until it is queued.
			c.mu.Lock()
			n := len(c.queue) + len(c.begun)
			c.mu.Unlock()
			if n > 0 {
				return answer
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	incoming.begin()
	first := change("renamed")
	if err := c.Pin(t.Context(), pinOf(2, "new")); err != nil { // New pins do not wait.
		t.Fatal(err)
	}
	for range 3 { // The next is always on its way before the one that is waited for has come.
		select {
		case err := <-first:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		incoming.begin()
		incoming.end()
		if err := <-first; err != nil || f.name(keyOf(1)) == "before" {
			t.Fatalf("%v, %q", err, f.name(keyOf(1)))
		}
		first = change("again")
	}
	incoming.end()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	incoming.begin()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Unpin(ctx, keyOf(1)); !errors.Is(err, ErrBehind) {
		t.Errorf("a removal that waits: %v", err)
	}
	incoming.end()
}

// More removals wait for other peers than a commit has room for. A new pin behind them does not wait, and
// one of a pin that is to be removed waits for that.
func TestCommitter_NewPinsPassAnyNumberThatWait(t *testing.T) {
	f := newFake()
	incoming := newWalks(f)
	c := start(t, f, func(cfg *Config) { cfg.Incoming, cfg.MaxGroup = incoming, 4 })
	incoming.begin()
	var waiting []chan error
	for n := range 10 {
		waiting = append(waiting, begin(t, c, n+1, func() error { return c.Unpin(t.Context(), keyOf(n)) }))
	}
	waiting = append(waiting, begin(t, c, 11, func() error { return c.Pin(t.Context(), pinOf(0, "again")) }))
	ctx, cancel := context.WithTimeout(t.Context(), behindWait/2)
	defer cancel()
	if err := c.Pin(ctx, pinOf(100, "new")); err != nil {
		t.Errorf("a new pin: %v", err)
	}
	waitQueued(t, c, 11)
	incoming.end()
	for n, answer := range waiting {
		if err := <-answer; err != nil {
			t.Errorf("write %d: %v", n, err)
		}
	}
	if got := f.name(keyOf(0)); got != "again" {
		t.Errorf("the state has %q", got)
	}
}

// stalled are walks that stand still, until they are looked at for a commit.
type stalled struct {
	*walks
	still bool // guarded as the walks
}

func (s *stalled) Awaits(mark uint64) (awaits bool) {
	s.f.set(func() { awaits = !s.still })
	return awaits && s.walks.Awaits(mark)
}

// A walk stands still, so that a removal does not wait for it, and comes on again before the commit is watched,
// which is then none that keeps what it removes from coming back.
func TestCommitter_AWalkThatComesOnAgainIsWaitedFor(t *testing.T) {
	f := newFake()
	incoming := &stalled{walks: newWalks(f)}
	c := start(t, f, func(cfg *Config) {
		cfg.Incoming = incoming
		cfg.Watch = func(ctx context.Context) (context.Context, Effects) {
			f.set(func() { incoming.still = false })
			return watchSilent(ctx)
		}
	})
	if err := c.Pin(t.Context(), pinOf(1, "before")); err != nil {
		t.Fatal(err)
	}
	incoming.begin()
	f.set(func() { incoming.still = true })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Unpin(ctx, keyOf(1)); !errors.Is(err, ErrBehind) || errors.Is(err, ErrUncertain) {
		t.Errorf("a removal beside a walk that comes on again: %v", err)
	}
	incoming.end()
	if err := c.Unpin(t.Context(), keyOf(1)); err != nil || f.name(keyOf(1)) != "" {
		t.Errorf("%v, %q", err, f.name(keyOf(1)))
	}
}
