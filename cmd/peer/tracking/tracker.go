// Package tracking hands records to upstream's pin tracker so that none is replaced while a
// worker reads it.
//
// Upstream's tracker replaces the record of an operation that is queued or in progress, and the
// worker that begins the operation reads it without a lock (U56 in docs/upstream-faults.md). A
// Tracker in front of it keeps a record that comes while the operation is queued until the worker
// has read the earlier one, which is when the worker calls the IPFS connector. A Connector in
// front of that one tells the Tracker, and goes on with the newest record.
//
// It would also wait for the IPFS node within a call for a pin that other peers are to hold (U98); a
// Tracker has such a pin removed in the background.
package tracking

import (
	"context"
	"errors"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"
)

var log = logging.Logger("tracking")

// Inner is upstream's tracker.
type Inner interface {
	ipfscluster.PinTracker
	// OpContext is the context of the operation of a pin, which ends with it; nil: there is none.
	OpContext(context.Context, api.Cid) context.Context
}

// kind is what an operation does.
type kind int

const (
	pinning kind = iota
	unpinning
)

// operation is one that upstream's tracker has, whose record may be read at any time.
type operation struct {
	kind kind
	// newest, if not nil, is the record that came after the operation was queued.
	newest *api.Pin
	// moved: it unpins what other peers are to hold.
	moved bool
}

// Tracker is the pin tracker with upstream's behind it. No call that begins an operation waits for
// the IPFS node. It is safe for concurrent use.
type Tracker struct {
	Inner
	cfg Config

	// calls is held while the inner tracker is called to begin an operation or to change one, and
	// whenever unread changes.
	calls  sync.Mutex
	closed bool // needs calls

	// mu is held for moments only, and by nothing that waits: who reads unread for a status may keep
	// the inner tracker waiting (U83 in docs/upstream-faults.md). Changes need both locks.
	mu sync.Mutex
	// unread are the operations whose record no worker has read yet.
	unread map[api.Cid]*operation
	held   int // how many of them have a newer record
	moved  int // how many of them are of moved pins

	unanswered unanswered
	// removalLimit is how long the IPFS node may take to unpin what other peers hold.
	removalLimit time.Duration
	maxMoved     int
}

// Node is an IPFS node: an ipfscluster.IPFSConnector.
type Node interface {
	// PinLs sends the pins of the first of the types, and closes out.
	PinLs(ctx context.Context, types []string, out chan<- api.IPFSPinInfo) error
}

// Config is what a Tracker needs.
type Config struct {
	// Self is the peer.
	Self peer.ID
	// State is the shared state.
	State func(context.Context) (state.ReadOnly, error)
	// Node is the peer's IPFS node.
	Node Node
	// GivenUp is called when the IPFS node may keep a pin that other peers are to hold. It returns
	// at once.
	GivenUp func(api.Cid)
}

// NewTracker wraps a tracker. Shutdown of the wrapper shuts the tracker down.
func NewTracker(inner Inner, cfg Config) *Tracker {
	return &Tracker{
		Inner: inner, cfg: cfg, unread: map[api.Cid]*operation{}, unanswered: newUnanswered(),
		removalLimit: removalLimit, maxMoved: maxMoved,
	}
}

// Track implements ipfscluster.PinTracker.
func (t *Tracker) Track(ctx context.Context, pin api.Pin) error {
	switch {
	case pin.Type == api.MetaType:
		return t.Inner.Track(ctx, pin)
	case pin.IsRemotePin(t.cfg.Self):
		return t.remove(ctx, pin.Cid)
	}
	t.calls.Lock()
	defer t.calls.Unlock()
	return t.hand(ctx, pin.Cid, operation{kind: pinning, newest: &pin}, func() error { return t.Inner.Track(ctx, pin) })
}

// Untrack implements ipfscluster.PinTracker.
func (t *Tracker) Untrack(ctx context.Context, c api.Cid) error {
	t.calls.Lock()
	defer t.calls.Unlock()
	return t.hand(ctx, c, operation{kind: unpinning}, func() error { return t.Inner.Untrack(ctx, c) })
}

// hand calls the inner tracker, which does not block then, unless it would replace a record that
// nobody has read: then that of next waits. After Shutdown nothing happens; the next start follows the
// state. It needs the lock of calls.
func (t *Tracker) hand(ctx context.Context, c api.Cid, next operation, call func() error) error {
	if t.closed {
		return nil
	}
	before := t.Inner.OpContext(ctx, c)
	if op := t.unread[c]; op != nil && op.kind == next.kind && before != nil && before.Err() == nil {
		t.keep(op, next.newest)
		return nil
	}
	// A worker that takes the operation at once waits for the lock.
	err := call()
	t.forget(c)
	if after := t.Inner.OpContext(ctx, c); err == nil && after != nil && after != before {
		t.enter(c, &operation{kind: next.kind, moved: next.moved})
	}
	return err
}

// begun notes that a worker has read the record of an operation and calls the IPFS connector with
// its context. It returns the newest record if there is a newer one.
func (t *Tracker) begun(ctx context.Context, c api.Cid) *api.Pin {
	t.calls.Lock()
	defer t.calls.Unlock()
	op := t.unread[c]
	if op == nil || op.kind != pinning || ctx.Err() != nil { // Another operation has replaced that of the worker.
		return nil
	}
	newest := op.newest
	t.forget(c)
	if newest != nil {
		// The operation is in progress: it gets the record, and goes on.
		if err := t.Inner.Track(ctx, *newest); err != nil {
			log.Warnf("track pin %s: %s", c, err)
		}
	}
	return newest
}

// keep replaces the newest record of an operation; nil replaces nothing.
func (t *Tracker) keep(op *operation, newest *api.Pin) {
	if newest == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if op.newest == nil {
		t.held++
	}
	op.newest = newest
}

// enter replaces the operation of a pin.
func (t *Tracker) enter(c api.Cid, op *operation) {
	t.forget(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unread[c] = op
	if op.moved {
		t.moved++
	}
}

func (t *Tracker) forget(c api.Cid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	op := t.unread[c]
	if op == nil {
		return
	}
	if op.newest != nil {
		t.held--
	}
	if op.moved {
		t.moved--
	}
	delete(t.unread, c)
}

// Recover implements ipfscluster.PinTracker. Unlike upstream's it does not unpin what the state
// has.
func (t *Tracker) Recover(ctx context.Context, c api.Cid) (api.PinInfo, error) {
	info := t.Status(ctx, c)
	begun, err := t.recover(ctx, info)
	if !begun {
		return info, err
	}
	return t.Status(ctx, c), err
}

// RecoverAll implements ipfscluster.PinTracker.
func (t *Tracker) RecoverAll(ctx context.Context, out chan<- api.PinInfo) error {
	defer close(out)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	infos := make(chan api.PinInfo, cap(out))
	failed := make(chan error, 1)
	go func() { failed <- t.StatusAll(ctx, api.TrackerStatusUndefined, infos) }()
	looks := maxLooks
	for info := range infos {
		if looks > 0 && info.Status == api.TrackerStatusUnexpectedlyUnpinned {
			looks--
			there, answered := t.isThere(ctx, info.Cid)
			switch {
			case there:
				continue
			case !answered:
				looks = 0
			}
		}
		begun, err := t.recover(ctx, info)
		if err != nil {
			return err
		}
		if !begun {
			continue
		}
		select {
		case out <- t.Status(ctx, info.Cid):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return <-failed
}

const (
	// maxLooks bounds the pins of one recovery about which the IPFS node is asked one by one: while it runs, the
	// cluster removes no pins that have expired.
	maxLooks = 1000
	// lookLimit is how long the node may take to say whether it has a pin.
	lookLimit = 10 * time.Second
)

// isThere reports whether the IPFS node has a pin that a report on all says it lost, or the tracker is at work on it: it
// was pinned since the pins of the node were listed (U121 in docs/upstream-faults.md). Queued again it would wait behind
// others that take hours. answered is false when the node does not answer in time.
func (t *Tracker) isThere(ctx context.Context, c api.Cid) (there, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	info := t.Status(ctx, c)
	return info.Status.Match(api.TrackerStatusPinned | api.TrackerStatusPinQueued | api.TrackerStatusPinning), ctx.Err() == nil
}

// recover begins what failed again, and reports whether it did.
func (t *Tracker) recover(ctx context.Context, info api.PinInfo) (begun bool, err error) {
	if !info.Status.Match(api.TrackerStatusPinError | api.TrackerStatusUnexpectedlyUnpinned | api.TrackerStatusUnpinError) {
		return false, nil
	}
	st, err := t.cfg.State(ctx)
	if err != nil {
		return false, err
	}
	pin, err := st.Get(ctx, info.Cid)
	switch {
	case err == nil:
		log.Infof("%s is pinned again", info.Cid)
		return true, t.Track(ctx, pin)
	case errors.Is(err, state.ErrNotFound) && info.Status == api.TrackerStatusUnpinError:
		log.Infof("%s is unpinned again", info.Cid)
		return true, t.Untrack(ctx, info.Cid)
	case errors.Is(err, state.ErrNotFound):
		return true, nil // It was removed meanwhile.
	}
	return false, err
}

// Shutdown implements ipfscluster.Component.
func (t *Tracker) Shutdown(ctx context.Context) error {
	t.calls.Lock()
	t.closed = true
	t.calls.Unlock()
	return t.Inner.Shutdown(ctx)
}
