// Package watch has the pin tracker that tells what changes in the shared
// state of an IPFS Cluster peer, and puts right what the cluster's own tracker
// gets wrong: content that is still wanted but was unpinned because of a stale
// removal.
//
// A daemon wraps its tracker with NewTracker, gives the wrapper to the cluster
// in the tracker's place, and to the Pinning Service API as its hints.
package watch

import (
	"context"
	"errors"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

var _ clusterrpc.Hints = (*Tracker)(nil)

var log = logging.Logger("pinsvcwatch")

// Tracker is a pin tracker that passes all on to another one.
type Tracker struct {
	ipfscluster.PinTracker
	self  peer.ID
	state func(context.Context) (state.ReadOnly, error)
	looks []time.Duration

	mu          sync.Mutex
	subscribers map[int]func(clusterrpc.Hint)
	next        int
	removed     map[cid.Cid]*removal

	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	wg     sync.WaitGroup
}

// removal is a pin that the tracker was told to give up.
type removal struct {
	since   time.Time
	looked  int  // how many of the looks are over
	tracked bool // the tracker was told to track it since
}

// looks are when the state is read after a removal. What the state shows at
// first may not be the last word, so it is read again.
var looks = []time.Duration{500 * time.Millisecond, 3 * time.Second, 30 * time.Second}

// NewTracker wraps the tracker of the peer self, which has that state.
// Shutdown of the wrapper shuts the tracker down.
func NewTracker(inner ipfscluster.PinTracker, self peer.ID, state func(context.Context) (state.ReadOnly, error)) *Tracker {
	return newTracker(inner, self, state, looks)
}

func newTracker(inner ipfscluster.PinTracker, self peer.ID, state func(context.Context) (state.ReadOnly, error), looks []time.Duration) *Tracker {
	t := &Tracker{
		PinTracker: inner, self: self, state: state, looks: looks,
		subscribers: make(map[int]func(clusterrpc.Hint)), removed: make(map[cid.Cid]*removal),
		wake: make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.wg.Go(t.check)
	return t
}

// Subscribe has f called with every hint from now on until cancel is. f must
// not wait for anything: the cluster's consensus waits while it runs.
func (t *Tracker) Subscribe(f func(clusterrpc.Hint)) (cancel func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.next
	t.next++
	t.subscribers[id] = f
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.subscribers, id)
	}
}

// Track implements ipfscluster.PinTracker.
func (t *Tracker) Track(ctx context.Context, pin api.Pin) error {
	err := t.PinTracker.Track(ctx, pin)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.removed[pin.Cid.Cid]; ok {
		// Raft does not keep the order in which it tells of a pin that was
		// made and removed at once. The last look tells: a CRDT calls
		// before it commits.
		t.removed[pin.Cid.Cid] = &removal{since: time.Now(), looked: len(t.looks) - 1, tracked: true}
	}
	t.tell(changed(pin))
	return err
}

// Untrack implements ipfscluster.PinTracker.
func (t *Tracker) Untrack(ctx context.Context, c api.Cid) error {
	err := t.PinTracker.Untrack(ctx, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removed[c.Cid] = &removal{since: time.Now()}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	t.tell(clusterrpc.Hint{CID: c.Cid, Removed: true})
	return err
}

// changed is the hint of a record that was written.
func changed(pin api.Pin) clusterrpc.Hint {
	record, err := pin.ProtoMarshal()
	if err != nil {
		record = nil // It is of no use to compare then.
	}
	return clusterrpc.Hint{CID: pin.Cid.Cid, Written: pin.Timestamp, Record: string(record)}
}

// tell needs the lock.
func (t *Tracker) tell(h clusterrpc.Hint) {
	for _, f := range t.subscribers {
		f(h)
	}
}

// Shutdown implements ipfscluster.Component.
func (t *Tracker) Shutdown(ctx context.Context) error {
	t.cancel()
	t.wg.Wait()
	return t.PinTracker.Shutdown(ctx)
}

// check looks after removals until the tracker is shut down.
func (t *Tracker) check() {
	for {
		timer := time.NewTimer(t.checkDue(time.Now()))
		select {
		case <-timer.C:
		case <-t.wake:
		case <-t.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// idle is how long check sleeps when there is nothing to look at, and gather
// how long it lets removals gather, so that deleting many pins does not walk
// over all of them for each.
const (
	idle   = time.Hour
	gather = 50 * time.Millisecond
)

// checkDue looks at the removals whose time has come and returns when to come
// back.
func (t *Tracker) checkDue(now time.Time) time.Duration {
	var due []cid.Cid
	next := idle
	t.mu.Lock()
	for c, r := range t.removed {
		wait := r.since.Add(t.looks[r.looked]).Sub(now)
		if wait <= 0 {
			due = append(due, c)
		}
		next = max(min(next, wait), gather)
	}
	t.mu.Unlock()
	for _, c := range due {
		t.look(c)
	}
	return next
}

// look reads the state of a pin that was removed and sees to it that the
// tracker does what the state says.
func (t *Tracker) look(c cid.Cid) {
	t.mu.Lock()
	r := t.removed[c]
	t.mu.Unlock()
	pin, wanted, err := t.read(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.removed[c] != r {
		return // It was tracked or removed meanwhile.
	}
	if r.looked++; r.looked == len(t.looks) {
		delete(t.removed, c)
	}
	// The tracker is told under the lock, so that a Track or Untrack of the
	// consensus comes before or after all of it. It only puts what it is
	// told into a queue.
	switch {
	case err != nil:
		log.Warnf("read whether pin %s is still wanted: %s", c, err)
	case wanted && !r.tracked:
		log.Infof("pin %s was removed, but is wanted all the same: it is kept", c)
		r.tracked = true
		if err := t.PinTracker.Track(t.ctx, pin); err != nil {
			log.Warnf("track pin %s again: %s", c, err)
		}
		t.tell(changed(pin))
	case !wanted && r.tracked:
		r.tracked = false
		if err := t.PinTracker.Untrack(t.ctx, api.NewCid(c)); err != nil {
			log.Warnf("give up pin %s: %s", c, err)
		}
		t.tell(clusterrpc.Hint{CID: c, Removed: true})
	}
}

// read returns what the state has of a pin that this peer should hold.
func (t *Tracker) read(c cid.Cid) (pin api.Pin, found bool, err error) {
	st, err := t.state(t.ctx)
	if err != nil {
		return api.Pin{}, false, err
	}
	pin, err = st.Get(t.ctx, api.NewCid(c))
	if errors.Is(err, state.ErrNotFound) {
		return api.Pin{}, false, nil
	}
	return pin, err == nil && !pin.IsRemotePin(t.self), err
}
