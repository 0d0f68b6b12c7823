package clusterrpc

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// feed keeps the view what the shared state is, with what this peer has
// written and the state does not show yet. Records come from four sides:
// the whole state when the feed starts and from time to time after that, hints
// of changes (see hints.go), this peer's own writes, and requests that read
// the state anyway.
//
// What is read of one pin is entered before it is read again: strips of locks
// keep an old record from overtaking a new one. While the whole state streams
// in, pins that are read otherwise are remembered, because the stream may be
// of an older state.
type feed struct {
	ledger  *ledger
	pending *pending
	cluster cluster
	// read returns what holds of a pin.
	read func(ctx context.Context, key api.Cid) (api.Pin, bool, error)

	seed   maphash.Seed
	strips [64]sync.Mutex

	mu    sync.Mutex
	fresh map[cid.Cid]struct{} // read since the walk began; nil without one

	progress progress
	again    chan struct{} // asks for a walk before its time
}

func newFeed(l *ledger, p *pending, c cluster, read func(context.Context, api.Cid) (api.Pin, bool, error)) *feed {
	return &feed{
		ledger: l, pending: p, cluster: c, read: read,
		seed: maphash.MakeSeed(), again: make(chan struct{}, 1),
	}
}

func (f *feed) strip(key cid.Cid) *sync.Mutex {
	return &f.strips[f.hash(key.KeyString())%uint64(len(f.strips))]
}

func (f *feed) hash(key string) uint64 { return maphash.String(f.seed, key) }

// refresh reads a pin and enters what holds. The record may be one that
// clients do not see; the view has none of those.
func (f *feed) refresh(ctx context.Context, key api.Cid) (api.Pin, bool, error) {
	strip := f.strip(key.Cid)
	strip.Lock()
	defer strip.Unlock()
	rec, found, err := f.read(ctx, key)
	if err != nil {
		return api.Pin{}, false, err
	}
	f.touch(key.Cid)
	f.enter(key.Cid, rec, found, false)
	return rec, found, nil
}

// wrote enters a change that the cluster accepted from this peer: before and
// underway are as in pending. Where the state shows it already,
// nothing is pending, and what others do next is seen as such.
func (f *feed) wrote(ctx context.Context, before held, rec api.Pin, gone bool, underway ...string) {
	key := rec.Cid.Cid
	strip := f.strip(key)
	strip.Lock()
	defer strip.Unlock()
	f.pending.wrote(key, before, rec, gone, underway...)
	f.touch(key)
	now, found, err := f.read(ctx, rec.Cid)
	if err != nil {
		log.Warnf("the change of pin %s was accepted but cannot be read back: %s", key, err)
		now, found = rec, !gone
	}
	f.enter(key, now, found, true)
}

func (f *feed) enter(key cid.Cid, rec api.Pin, found, again bool) {
	if found && visible(rec) {
		f.ledger.enter(rec, again)
	} else {
		f.ledger.drop(key)
	}
}

// touch remembers that a pin was read while the whole state is.
func (f *feed) touch(key cid.Cid) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fresh != nil {
		f.fresh[key] = struct{}{}
	}
}

func (f *feed) touched(key cid.Cid) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.fresh[key]
	return ok
}

// setFresh begins to remember, or ends it.
func (f *feed) setFresh(fresh map[cid.Cid]struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fresh = fresh
}

// walk enters the whole state, and takes out of the view what the state does
// not have. Beside the view it needs 8 bytes a pin while it runs. Only one may
// run at a time.
func (f *feed) walk(ctx context.Context) error {
	f.setFresh(make(map[cid.Cid]struct{}))
	defer f.setFresh(nil)
	f.progress.begin()
	seen := make([]uint64, 0, f.ledger.view.Len())
	err := f.cluster.pins(ctx, func(rec api.Pin) error {
		seen = append(seen, f.hash(rec.Cid.KeyString()))
		f.enterStreamed(rec)
		f.progress.step()
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the pinset: %w", err)
	}
	slices.Sort(seen)
	return f.dropAllBut(ctx, seen)
}

func (f *feed) enterStreamed(rec api.Pin) {
	key := rec.Cid.Cid
	strip := f.strip(key)
	strip.Lock()
	defer strip.Unlock()
	if !f.touched(key) && !f.pending.has(key) {
		f.enter(key, rec, true, false)
	}
}

// dropAllBut reads again every pin of the view whose hash is not among those
// of the state's. A removal is believed only then: pins come and go while the
// state streams.
func (f *feed) dropAllBut(ctx context.Context, seen []uint64) error {
	var missing []string
	f.ledger.view.UpdateAll(func(key string, _ *pinset.Mutable) bool {
		if _, ok := slices.BinarySearch(seen, f.hash(key)); !ok {
			missing = append(missing, key)
		}
		return false
	})
	for _, key := range missing {
		c, err := cid.Cast([]byte(key))
		if err == nil {
			_, _, err = f.refresh(ctx, api.NewCid(c))
		}
		if err != nil {
			return fmt.Errorf("look for a pin that the pinset lacks: %w", err)
		}
	}
	return nil
}

// soon asks for a walk before its time.
func (f *feed) soon() {
	select {
	case f.again <- struct{}{}:
	default:
	}
}

// reconcile walks over the state now and then, until the context ends.
func (f *feed) reconcile(ctx context.Context, interval time.Duration) {
	for {
		timer := time.NewTimer(interval)
		select {
		case <-timer.C:
		case <-f.again:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
		if err := f.walk(ctx); err != nil && !errors.Is(err, context.Canceled) {
			log.Warnf("%s", err)
			if !sleep(ctx, min(interval, time.Second)) {
				return
			}
		}
		f.ledger.places.compact(f.ledger.view)
	}
}

// progress is how far a walk has come.
type progress struct {
	began atomic.Int64 // Unix nanoseconds
	pins  atomic.Int64
}

func (p *progress) begin() {
	p.began.Store(time.Now().UnixNano())
	p.pins.Store(0)
}

func (p *progress) step() { p.pins.Add(1) }

// String is "120000 pins so far, 80000 a second".
func (p *progress) String() string {
	pins := p.pins.Load()
	took := time.Since(time.Unix(0, p.began.Load()))
	return fmt.Sprintf("%d pins so far, %.0f a second", pins, float64(pins)/max(took.Seconds(), 0.001))
}
