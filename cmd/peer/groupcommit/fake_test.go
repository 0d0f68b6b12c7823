package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"go.uber.org/goleak"
)

// TestMain fails when a Committer leaves its goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// fault is how a commit of the fake fails.
type fault uint8

const (
	faultNone   fault = iota
	faultBefore       // nothing is changed
	faultMerged       // the state is changed, and no head leads to it
	faultTold         // the commit is on the disk, and the others are not told
	faultHead         // the others are told, and no head on the disk leads to it
)

// fake is a state that behaves as go-ds-crdt does: a failed commit keeps its delta, the elements of
// a failed commit that were merged are in this peer's state alone, and a value that is older than
// what the state has is ignored unless that is removed in the same delta.
type fake struct {
	mu sync.Mutex
	// delta is what Add and Rm put together.
	adds    map[string]api.Pin
	removed map[string]map[int]bool // the versions
	undone  map[string]bool         // what failed commits left of these is removed
	order   []string
	// values is what the state shows, versions tell them apart, and orphans are those of them that no
	// other peer has.
	values   map[string]api.Pin
	versions map[string]int
	beneath  map[string]*api.Pin // what an orphan hides
	added    int
	orphans  map[string]bool
	lagging  map[string]bool
	broken   map[string]error // what Add and Rm of a key return

	next    func() fault
	before  func() // called when a commit begins, without the lock
	tell    func() // called when a commit is synced, without the lock
	commits [][]string
}

func newFake() *fake {
	return &fake{
		adds: make(map[string]api.Pin), removed: make(map[string]map[int]bool), versions: make(map[string]int), beneath: make(map[string]*api.Pin), undone: make(map[string]bool), values: make(map[string]api.Pin),
		orphans: make(map[string]bool), lagging: make(map[string]bool), broken: make(map[string]error),
		next: func() fault { return faultNone }, before: func() {}, tell: func() {},
	}
}

func (f *fake) Add(ctx context.Context, pin api.Pin) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := pin.Cid.String()
	if err := f.broken[key]; err != nil {
		return err
	}
	f.adds[key] = pin
	if effects, ok := ctx.Value(fakeKey{}).(*fakeEffects); ok && !effects.knows[key] {
		effects.knows[key] = true
		if before, ok := f.values[key]; ok {
			effects.before[key] = before
		}
	}
	f.order = append(f.order, key)
	return nil
}

func (f *fake) Rm(ctx context.Context, c api.Cid) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := c.String()
	if err := f.broken[key]; err != nil {
		return err
	}
	delete(f.adds, key)
	if ctx.Value(undoFake{}) != nil {
		f.undone[key] = true
		f.order = append(f.order, "undo "+key)
		return nil
	}
	if f.removed[key] == nil {
		f.removed[key] = make(map[int]bool)
	}
	f.removed[key][f.versions[key]] = true
	f.order = append(f.order, key)
	return nil
}

func (f *fake) Get(ctx context.Context, c api.Cid) (api.Pin, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pin, ok := f.values[c.String()]
	if f.orphans[c.String()] && ctx.Value(undoFake{}) != nil {
		beneath := f.beneath[c.String()]
		if ok = beneath != nil; ok {
			pin = *beneath
		}
	}
	if !ok {
		return api.Pin{}, state.ErrNotFound
	}
	return pin, nil
}

var errDisk = errors.New("input/output error")

func (f *fake) Commit(ctx context.Context) error {
	f.before()
	effects := ctx.Value(fakeKey{}).(*fakeEffects)
	failure := f.merge(effects)
	if failure == faultBefore || failure == faultMerged {
		return errDisk
	}
	if failure == faultHead {
		f.mu.Lock()
		defer f.mu.Unlock()
		effects.err = errDisk
		f.committed()
		return nil
	}
	effects.durable = true
	if effects.synced != nil {
		effects.synced()
	}
	f.tell()
	f.mu.Lock()
	defer f.mu.Unlock()
	if failure == faultTold {
		return errDisk
	}
	f.committed()
	return nil
}

// committed ends the delta. It needs the lock.
func (f *fake) committed() {
	f.commits = append(f.commits, f.order)
	f.adds, f.removed, f.undone, f.order = make(map[string]api.Pin), make(map[string]map[int]bool), make(map[string]bool), nil
}

// merge is the part of a commit up to its sync.
func (f *fake) merge(effects *fakeEffects) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	failure := f.next()
	if failure == faultBefore {
		return failure
	}
	effects.begun = true
	for key := range f.undone {
		if !f.orphans[key] {
			continue
		}
		effects.of[key] = EffectRemoved
		beneath := f.beneath[key]
		if f.put(key, beneath); beneath != nil {
			effects.of[key] = EffectKept
		}
	}
	for key, versions := range f.removed {
		if !versions[f.versions[key]] {
			continue // Another peer's, which came later.
		}
		delete(f.values, key)
		delete(f.orphans, key)
		delete(f.lagging, key)
		effects.of[key] = EffectRemoved
	}
	for key, pin := range f.adds {
		if !f.lagging[key] {
			if before, ok := f.values[key]; !ok {
				f.beneath[key] = nil
			} else if !f.orphans[key] {
				f.beneath[key] = &before
			}
			f.put(key, &pin)
			f.orphans[key] = failure == faultMerged
			effects.of[key] = EffectAdded
		}
	}
	return failure
}

// put gives a key a value, or none, as another peer or a commit does. It needs the lock.
func (f *fake) put(key string, pin *api.Pin) {
	delete(f.values, key)
	delete(f.orphans, key)
	f.added++
	f.versions[key] = f.added
	if pin == nil {
		delete(f.lagging, key) // Only what there is hides a value.
		return
	}
	f.values[key] = *pin
}

type fakeKey struct{}

type undoFake struct{}

// fakeEffects may know nothing of single keys, so that the Committer reads them.
type fakeEffects struct {
	begun   bool
	of      map[string]Effect
	silent  bool
	synced  func()
	durable bool
	err     error
	before  map[string]api.Pin
	knows   map[string]bool // of which keys before is known
}

func (e *fakeEffects) Begun() bool       { return e.begun }
func (e *fakeEffects) Err() error        { return e.err }
func (e *fakeEffects) OnSynced(f func()) { e.synced = f }
func (e *fakeEffects) Synced() bool      { return e.durable }
func (e *fakeEffects) Before(c api.Cid) (rec api.Pin, there, known bool) {
	rec, there = e.before[c.String()]
	return rec, there, e.knows[c.String()]
}
func (e *fakeEffects) Undo(ctx context.Context, _ bool) context.Context {
	return context.WithValue(ctx, undoFake{}, true)
}
func (e *fakeEffects) Of(c api.Cid) Effect {
	if e.silent {
		return EffectNone
	}
	return e.of[c.String()]
}

// watchFake and watchSilent are with effects that are known and that are not.
func watchFake(ctx context.Context) (context.Context, Effects) {
	effects := &fakeEffects{of: make(map[string]Effect), before: make(map[string]api.Pin), knows: make(map[string]bool)}
	return context.WithValue(ctx, fakeKey{}, effects), effects
}

func watchSilent(ctx context.Context) (context.Context, Effects) {
	ctx, effects := watchFake(ctx)
	effects.(*fakeEffects).silent = true
	return ctx, effects
}

// start runs a Committer on the fake until the test ends.
func start(t testing.TB, f *fake, change ...func(*Config)) *Committer {
	t.Helper()
	cfg := Config{State: f, Watch: watchSilent, RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	c := New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// name is that of a pin in the state, "" without one.
func (f *fake) name(c api.Cid) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.values[c.String()].Name
}

func keyOf(n int) api.Cid {
	sum, err := mh.Sum(fmt.Appendf(nil, "key %d", n), mh.SHA2_256, -1)
	if err != nil {
		panic(err) // SHA2-256 is always there.
	}
	return api.NewCid(cid.NewCidV1(cid.Raw, sum))
}

func pinOf(n int, name string) api.Pin {
	return api.PinWithOpts(keyOf(n), api.PinOptions{Name: name})
}
