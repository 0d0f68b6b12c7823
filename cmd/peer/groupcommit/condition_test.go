package groupcommit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

func named(name string) func(api.Pin) bool {
	return func(rec api.Pin) bool { return rec.Name == name }
}

// A removal of one version of a pin waits for its commit, and another peer adds the pin anew
// meanwhile: that one was accepted, and stays.
func TestCommitter_ARemovalOfOneVersionKeepsANewerOne(t *testing.T) {
	f := newFake()
	c := start(t, f, func(cfg *Config) { cfg.Linger, cfg.LingerSize = 50*time.Millisecond, 10 })
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "old") })
	removed := begin(t, c, 1, func() error { return c.UnpinIf(t.Context(), keyOf(1), named("old")) })
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "new") })
	if err := <-removed; !errors.Is(err, ErrChanged) || errors.Is(err, ErrUncertain) {
		t.Errorf("the removal returned %v", err)
	}
	if got := f.name(keyOf(1)); got != "new" {
		t.Errorf("the state has %q", got)
	}
	if err := c.UnpinIf(t.Context(), keyOf(1), named("new")); err != nil || f.name(keyOf(1)) != "" {
		t.Errorf("the removal of the version that is there: %v", err)
	}
	if err := c.UnpinIf(t.Context(), keyOf(1), named("new")); err != nil {
		t.Errorf("the removal of nothing: %v", err)
	}
}

// late is a state to which another peer's record comes just before a removal.
type late struct {
	*fake
	arrives func()
}

func (l late) Rm(ctx context.Context, c api.Cid) error {
	l.arrives()
	return l.fake.Rm(ctx, c)
}

func TestCommitter_ANewerVersionThatIsRemovedWithTheOldIsAddedAgain(t *testing.T) {
	f := newFake()
	c := start(t, f, func(cfg *Config) {
		cfg.State = late{f, func() { f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "new") }) }}
	})
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "old") })
	if err := c.UnpinIf(t.Context(), keyOf(1), named("old")); !errors.Is(err, ErrChanged) {
		t.Errorf("the removal returned %v", err)
	}
	if got := f.name(keyOf(1)); got != "new" {
		t.Errorf("the state has %q", got)
	}
}

// A commit that failed is made again. That its condition does not hold any more ends nothing.
func TestCommitter_AFailedRemovalOfOneVersion(t *testing.T) {
	f := newFake()
	failed := false
	f.next = func() fault {
		if failed {
			return faultNone
		}
		failed = true
		return faultMerged
	}
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "old") })
	g := newGate(f)
	c := start(t, f)
	removed := begin(t, c, 0, func() error { return c.UnpinIf(t.Context(), keyOf(1), named("old")) })
	<-g.entered
	g.pass(1)
	if err := <-removed; !errors.Is(err, ErrUncertain) {
		t.Errorf("the removal returned %v", err)
	}
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "new") })
	g.pass(10)
	for end := time.Now().Add(30 * time.Second); c.Pin(t.Context(), pinOf(2, "next")) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no write is accepted any more")
		}
	}
}
