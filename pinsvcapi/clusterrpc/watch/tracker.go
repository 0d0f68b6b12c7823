// Package watch has a pin tracker decorator with three jobs: it announces changes of the shared
// state of an IPFS Cluster peer (events.go), it repairs what the cluster's own tracker gets
// wrong, which is to unpin content that is still wanted (untrack_check.go; U13 in
// docs/upstream-faults.md), and it lets the recovery of all pins wait for the start of the API
// (recovery.go).
//
// A daemon wraps its tracker with NewTracker, gives the wrapper to the cluster in the tracker's
// place, and to the Pinning Service API as its event source.
package watch

import (
	"context"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/keylock"
)

var _ clusterrpc.EventSource = (*Tracker)(nil)

var log = logging.Logger("pinsvcwatch")

// Tracker is a pin tracker that passes everything on to another one.
type Tracker struct {
	ipfscluster.PinTracker
	self  peer.ID
	state func(context.Context) (state.ReadOnly, error)
	// delays are the times after a removal at which the state is read.
	delays []time.Duration

	// keys serialise the calls about one pin: that of the inner tracker and the note about
	// it are one step for the checks. Upstream's tracker blocks in a call for a pin that is to
	// be removed from this peer.
	keys keylock.Locks

	mu          sync.Mutex
	subscribers map[int]func(clusterrpc.Event)
	nextID      int
	removals    map[cid.Cid]*removal
	// holds is how many hold recoveries back, and released is closed when none does any more.
	holds    int
	released chan struct{}
	due      dueRemovals // the removals, and earlier ones of the same pins

	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	wg     sync.WaitGroup
}

// NewTracker wraps the tracker of the peer self, which has that state. Shutdown of the wrapper
// shuts the tracker down.
func NewTracker(inner ipfscluster.PinTracker, self peer.ID, state func(context.Context) (state.ReadOnly, error)) *Tracker {
	return newTracker(inner, self, state, checkDelays())
}

func newTracker(inner ipfscluster.PinTracker, self peer.ID, state func(context.Context) (state.ReadOnly, error), delays []time.Duration) *Tracker {
	t := &Tracker{
		PinTracker: inner, self: self, state: state, delays: delays,
		subscribers: make(map[int]func(clusterrpc.Event)), removals: make(map[cid.Cid]*removal),
		wake: make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.wg.Go(t.checkRemovals)
	return t
}

// Track implements ipfscluster.PinTracker.
func (t *Tracker) Track(ctx context.Context, pin api.Pin) error {
	unlock, err := t.keys.Lock(ctx, pin.Cid.KeyString())
	if err != nil {
		return err
	}
	defer unlock()
	err = t.PinTracker.Track(ctx, pin)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.removals[pin.Cid.Cid]; ok {
		// Raft does not keep the order of the hooks of a pin that was made and removed at
		// once, and CRDT hooks run before the change is committed. The last check decides.
		t.watchRemoval(&removal{key: pin.Cid.Cid, since: time.Now(), checks: len(t.delays) - 1, tracked: true})
	}
	t.notify(clusterrpc.RecordEvent(pin))
	return err
}

// Untrack implements ipfscluster.PinTracker.
func (t *Tracker) Untrack(ctx context.Context, c api.Cid) error {
	unlock, err := t.keys.Lock(ctx, c.KeyString())
	if err != nil {
		return err
	}
	defer unlock()
	err = t.PinTracker.Untrack(ctx, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchRemoval(&removal{key: c.Cid, since: time.Now()})
	t.notify(clusterrpc.RemovalEvent(c))
	return err
}

// Shutdown implements ipfscluster.Component.
func (t *Tracker) Shutdown(ctx context.Context) error {
	t.cancel()
	t.wg.Wait()
	return t.PinTracker.Shutdown(ctx)
}
