package groupcommit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
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
	for name, watch := range map[string]func(context.Context) (context.Context, Effects){
		"the effects are known": watchFake, "they are not": watchSilent,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			c := start(t, f, func(cfg *Config) {
				cfg.Watch = watch
				cfg.State = late{f, func() { f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "new") }) }}
			})
			f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "old") })
			if err := c.UnpinIf(t.Context(), keyOf(1), named("old")); !errors.Is(err, ErrChanged) {
				t.Errorf("the removal returned %v", err)
			}
			if got := f.name(keyOf(1)); got != "new" {
				t.Errorf("the state has %q", got)
			}
		})
	}
}

// The version that is added again is overtaken by a third one, which another peer has accepted: no
// commit is made again to undo that.
func TestCommitter_AVersionThatIsAddedAgainUndoesNoNewerOne(t *testing.T) {
	f := newFake()
	once := func(name string) func() {
		return sync.OnceFunc(func() { f.set(func() { f.values[keyOf(1).String()] = pinOf(1, name) }) })
	}
	c := start(t, f, func(cfg *Config) { cfg.State = late{f, once("new")} })
	f.tell = once("newest")
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "old") })
	err := c.UnpinIf(t.Context(), keyOf(1), named("old"))
	if err := c.Pin(t.Context(), pinOf(2, "next")); err != nil {
		t.Error(err)
	}
	if got := f.name(keyOf(1)); got != "newest" || !errors.Is(err, ErrChanged) {
		t.Errorf("the state has %q after %d commits; the removal returned %v", got, len(f.commits), err)
	}
}

// A record is written in the place of one version alone, also when the write waits for its commit.
func TestCommitter_AWriteInThePlaceOfOneVersion(t *testing.T) {
	f := newFake()
	c := start(t, f, func(cfg *Config) { cfg.Linger, cfg.LingerSize = 50*time.Millisecond, 10 })
	pin := func(name string, of string) error { return c.PinIf(t.Context(), pinOf(1, name), named(of)) }
	if err := pin("repaired", "old"); !errors.Is(err, ErrChanged) || f.name(keyOf(1)) != "" {
		t.Errorf("in the place of no record: %v", err)
	}
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "old") })
	written := begin(t, c, 1, func() error { return pin("repaired", "old") })
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "new") })
	if err := <-written; !errors.Is(err, ErrChanged) || errors.Is(err, ErrUncertain) || f.name(keyOf(1)) != "new" {
		t.Errorf("in the place of another one: %v, and the state has %q", err, f.name(keyOf(1)))
	}
	if err := pin("repaired", "new"); err != nil || f.name(keyOf(1)) != "repaired" {
		t.Errorf("in the place of the version that is there: %v, and the state has %q", err, f.name(keyOf(1)))
	}
}

// The state has ignored a write in the place of one version, and another peer's is there when it would
// be made again.
func TestCommitter_AnIgnoredWriteInThePlaceOfOneVersionIsNotMadeAgain(t *testing.T) {
	f := newFake()
	f.set(func() {
		f.values[keyOf(1).String()] = pinOf(1, "old")
		f.lagging[keyOf(1).String()] = true
	})
	c := start(t, f)
	f.tell = sync.OnceFunc(func() { f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "new") }) })
	if err := c.PinIf(t.Context(), pinOf(1, "repaired"), named("old")); !errors.Is(err, ErrChanged) {
		t.Errorf("the write returned %v", err)
	}
	if got := f.name(keyOf(1)); got != "new" {
		t.Errorf("the state has %q", got)
	}
}

// begun are the effects of a commit a part of which the state has made by itself.
type begun struct{ *fakeEffects }

func (begun) Begun() bool { return true }

// A condition that is not met is no failure of the commit, whose other writes would be refused for it.
func TestCommitter_AConditionThatIsNotMetFailsNoNeighbour(t *testing.T) {
	f := newFake()
	c := start(t, f, func(cfg *Config) {
		cfg.Linger, cfg.LingerSize = time.Minute, 2
		cfg.Watch = func(ctx context.Context) (context.Context, Effects) {
			ctx, effects := watchFake(ctx)
			return ctx, begun{effects.(*fakeEffects)}
		}
	})
	f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "new") })
	neighbour := begin(t, c, 1, func() error { return c.Pin(t.Context(), pinOf(2, "neighbour")) })
	if err := c.UnpinIf(t.Context(), keyOf(1), named("old")); !errors.Is(err, ErrChanged) || errors.Is(err, ErrUncertain) {
		t.Errorf("the removal returned %v", err)
	}
	if err := <-neighbour; err != nil {
		t.Errorf("its neighbour returned %v", err)
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
	accepted(t, c)
}

// accepted waits until another write is accepted.
func accepted(t *testing.T, c *Committer) {
	t.Helper()
	await.Success(t, "another write", func() error { return c.Pin(t.Context(), pinOf(2, "next")) })
}

// The commit of a write in the place of one version failed, and is made again. What another peer has
// written by then stays, and nothing stays at this peer alone.
func TestCommitter_AFailedWriteInThePlaceOfOneVersion(t *testing.T) {
	for name, how := range map[string]fault{"before": faultBefore, "merged": faultMerged, "told": faultTold} {
		for _, newer := range []string{"", "new"} {
			t.Run(name+" "+newer, func(t *testing.T) {
				f := newFake()
				var failed bool
				f.next = func() fault {
					if failed {
						return faultNone
					}
					failed = true
					return how
				}
				f.set(func() { f.values[keyOf(1).String()] = pinOf(1, "old") })
				c := start(t, f, func(cfg *Config) {
					cfg.Watch = watchFake
					cfg.State = late{f, sync.OnceFunc(func() {
						f.set(func() {
							if newer != "" {
								f.values[keyOf(1).String()], f.orphans[keyOf(1).String()] = pinOf(1, newer), false
							}
						})
					})}
				})
				err := c.PinIf(t.Context(), pinOf(1, "repaired"), named("old"))
				if told := how == faultTold; told != (err == nil) || !told && !errors.Is(err, ErrUncertain) {
					t.Errorf("the write returned %v", err)
				}
				accepted(t, c)
				f.set(func() {
					got := f.values[keyOf(1).String()].Name
					if f.orphans[keyOf(1).String()] || got == "" || newer != "" && got != newer {
						t.Errorf("the state has %q; at this peer alone: %t", got, f.orphans[keyOf(1).String()])
					}
				})
			})
		}
	}
}
