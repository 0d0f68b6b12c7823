package raftstate

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	rpc "github.com/libp2p/go-libp2p-gorpc"
)

// Tracker is the pin tracker of a Raft peer. Of what Raft tells it takes the CID alone, and reads
// the record from the state: the pins that Raft hands out have maps and slices that the next entry
// overwrites (U31 in docs/upstream-faults.md). So it follows the state whatever the order of
// the calls.
type Tracker struct {
	ipfscluster.PinTracker
	state func(context.Context) (state.ReadOnly, error)

	seed maphash.Seed
	// locks, by CID, make reading the state and telling the inner tracker one step: the call that
	// comes last has the newest state.
	locks [64]sync.Mutex

	// connected ends when the inner tracker has its RPC client. A snapshot may come before that, and
	// a pin that is tracked without the client ends the process (U55).
	connected *hold

	// replay are the pins that Raft told of while it applied its log again, and applied is closed when it
	// has: what was removed and added since was unpinned by each restart for a moment, in which this peer
	// may be the only one that has the content (U103 in docs/upstream-faults.md).
	replay  replay
	applied <-chan struct{}

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewTracker wraps a tracker. It follows the state once applied is closed: Consensus.Applied. Shutdown
// of the wrapper shuts the tracker down.
func NewTracker(
	inner ipfscluster.PinTracker, state func(context.Context) (state.ReadOnly, error), applied <-chan struct{},
) *Tracker {
	t := &Tracker{
		PinTracker: inner, state: state, seed: maphash.MakeSeed(), connected: newHold(),
		replay: replay{pins: make(map[api.Cid]struct{})}, applied: applied,
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	select {
	case <-applied:
		t.replay.end()
	default:
		t.wg.Go(t.endReplay)
	}
	return t
}

// SetClient implements ipfscluster.Component.
func (t *Tracker) SetClient(client *rpc.Client) {
	t.PinTracker.SetClient(client)
	t.connected.end(nil)
}

// Track implements ipfscluster.PinTracker. Nothing of the pin but its CID is read.
func (t *Tracker) Track(ctx context.Context, pin api.Pin) error {
	if t.replay.keeps(pin.Cid) {
		return nil
	}
	return t.follow(ctx, pin.Cid)
}

// Untrack implements ipfscluster.PinTracker.
func (t *Tracker) Untrack(ctx context.Context, c api.Cid) error {
	if isBarrier(c) || t.replay.keeps(c) {
		return nil
	}
	return t.follow(ctx, c)
}

// follow tells the tracker what the state has of a pin.
func (t *Tracker) follow(ctx context.Context, c api.Cid) error {
	lock := &t.locks[maphash.String(t.seed, c.KeyString())%uint64(len(t.locks))]
	lock.Lock()
	defer lock.Unlock()
	st, err := t.state(ctx)
	if err != nil {
		return err
	}
	record, err := st.Get(ctx, c)
	if errors.Is(err, state.ErrNotFound) {
		return t.PinTracker.Untrack(ctx, c)
	}
	if err != nil {
		return err
	}
	return t.PinTracker.Track(ctx, record)
}

// Restored follows the state after a snapshot, of whose pins Raft tells nobody. It returns at
// once.
func (t *Tracker) Restored(change Restored) {
	t.wg.Go(func() {
		if t.awaitApplied() && t.connected.wait() == nil {
			t.followAll("a snapshot", slices.Concat(change.Removed, change.Written))
		}
	})
}

// awaitApplied waits until the state is complete. It returns false when the tracker is shut down before.
func (t *Tracker) awaitApplied() bool {
	select {
	case <-t.applied:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// endReplay follows what the log was about when all of it is applied.
func (t *Tracker) endReplay() {
	if !t.awaitApplied() {
		return
	}
	if pins := t.replay.end(); t.connected.wait() == nil {
		t.followAll("the log", pins)
	}
}

func (t *Tracker) followAll(what string, cids []api.Cid) {
	failed := 0
	for _, c := range cids {
		if t.ctx.Err() != nil {
			return
		}
		if err := t.follow(t.ctx, c); err != nil {
			failed++
			log.Debugf("following %s: pin %s: %s", what, c, err)
		}
	}
	if failed > 0 {
		log.Warnf("after %s, %d pins are not followed yet; recovery comes back to them", what, failed)
	}
}

// replay keeps the pins of the entries that are applied again at a start. It is safe for concurrent use.
type replay struct {
	mu    sync.Mutex
	pins  map[api.Cid]struct{}
	ended bool
}

// keeps reports whether a pin is kept for the end of the replay.
func (r *replay) keeps(c api.Cid) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.pins[c] = struct{}{}
	return true
}

// end returns what was kept. Nothing is kept any more.
func (r *replay) end() []api.Cid {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	defer clear(r.pins)
	return slices.Collect(maps.Keys(r.pins))
}

// Shutdown implements ipfscluster.Component.
func (t *Tracker) Shutdown(ctx context.Context) error {
	t.connected.end(errNoClient)
	t.cancel()
	t.wg.Wait()
	return t.PinTracker.Shutdown(ctx)
}
