package raftstate

import (
	"context"
	"errors"
	"hash/maphash"
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

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewTracker wraps a tracker. Shutdown of the wrapper shuts the tracker down.
func NewTracker(inner ipfscluster.PinTracker, state func(context.Context) (state.ReadOnly, error)) *Tracker {
	t := &Tracker{PinTracker: inner, state: state, seed: maphash.MakeSeed(), connected: newHold()}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// SetClient implements ipfscluster.Component.
func (t *Tracker) SetClient(client *rpc.Client) {
	t.PinTracker.SetClient(client)
	t.connected.end(nil)
}

// Track implements ipfscluster.PinTracker. Nothing of the pin but its CID is read.
func (t *Tracker) Track(ctx context.Context, pin api.Pin) error { return t.follow(ctx, pin.Cid) }

// Untrack implements ipfscluster.PinTracker.
func (t *Tracker) Untrack(ctx context.Context, c api.Cid) error {
	if isBarrier(c) {
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
		if t.connected.wait() != nil {
			return
		}
		failed := 0
		for _, cids := range [][]api.Cid{change.Removed, change.Written} {
			for _, c := range cids {
				if t.ctx.Err() != nil {
					return
				}
				if err := t.follow(t.ctx, c); err != nil {
					failed++
					log.Debugf("following a snapshot: pin %s: %s", c, err)
				}
			}
		}
		if failed > 0 {
			log.Warnf("after a snapshot, %d pins are not followed yet; recovery comes back to them", failed)
		}
	})
}

// Shutdown implements ipfscluster.Component.
func (t *Tracker) Shutdown(ctx context.Context) error {
	t.connected.end(errNoClient)
	t.cancel()
	t.wg.Wait()
	return t.PinTracker.Shutdown(ctx)
}
