package tracking

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

const (
	// maxMoved bounds the pins of other peers that wait for being unpinned here, those apart that
	// this peer was pinning.
	maxMoved = 10_000
	// removalLimit is how long the IPFS node may take to unpin what other peers hold.
	removalLimit = 30 * time.Second
	// maxUnanswered bounds the requests that are remembered because the node may carry them out late.
	maxUnanswered = 10_000
	// settle is how long a request that the node has begun may take to take effect.
	settle = 2 * time.Second
)

// remove has a pin unpinned that other peers are to hold. Upstream's tracker does that within the
// call, which the CRDT makes under its lock (U98 in docs/upstream-faults.md). Here it is queued like a
// removal, of which there is one for each pin, that a later call ends.
func (t *Tracker) remove(ctx context.Context, c api.Cid) error {
	t.calls.Lock()
	defer t.calls.Unlock()
	if t.closed {
		return nil
	}
	if t.moved >= t.maxMoved && t.Inner.OpContext(ctx, c) == nil {
		t.cfg.GivenUp(c)
		return nil
	}
	err := t.hand(ctx, c, operation{kind: unpinning, moved: true}, func() error { return t.Inner.Untrack(ctx, c) })
	if err != nil { // The queue is full, which is no fault of the pin.
		log.Debugf("unpin %s, which other peers hold: %s", c, err)
		t.cfg.GivenUp(c)
	}
	return nil
}

// begunUnpin notes that a worker is about to send a request to unpin. It fails if another operation
// has replaced that of the worker. moved: other peers are to hold the pin.
func (t *Tracker) begunUnpin(ctx context.Context, c api.Cid) (request *unpinRequest, moved bool, err error) {
	t.calls.Lock()
	defer t.calls.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	if op := t.unread[c]; op != nil && op.kind == unpinning {
		moved = op.moved
		t.forget(c)
	}
	// Before the lock is released: who tracks the pin after this sees the request.
	return t.unanswered.begin(c), moved, nil
}

// unpinRequest is a request to unpin.
type unpinRequest struct{ _ byte } // Not of size zero: each has an address of its own.

// unanswered are the requests to unpin that the IPFS node may carry out yet: those in progress, and
// those that ended without an answer. A frozen node reads them when it thaws, at the same time as a
// later request to pin, and one that collects garbage carries them out when that ends. It is safe for concurrent use.
type unanswered struct {
	settle time.Duration
	mu     *sync.Mutex
	last   map[api.Cid]*unpinRequest
}

func newUnanswered() unanswered {
	return unanswered{settle: settle, mu: new(sync.Mutex), last: map[api.Cid]*unpinRequest{}}
}

// begin notes a request. With too many of them it returns nil and notes none.
func (u *unanswered) begin(c api.Cid) *unpinRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.last[c]; !ok && len(u.last) >= maxUnanswered {
		return nil
	}
	request := &unpinRequest{}
	u.last[c] = request
	return request
}

// of is the last request for a pin; nil: the node has answered it.
func (u *unanswered) of(c api.Cid) *unpinRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[c]
}

// settled notes that a request has no effect any more.
func (u *unanswered) settled(c api.Cid, request *unpinRequest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last[c] == request {
		delete(u.last, c)
	}
}
