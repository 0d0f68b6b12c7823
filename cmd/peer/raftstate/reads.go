package raftstate

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/state"
)

// stateWait is how long a read waits for upstream to hand the state out.
const stateWait = 20 * time.Millisecond

// stateReads are the calls for the state. While Raft makes a snapshot, upstream hands the state out to nobody
// (U118 in docs/upstream-faults.md): a read goes on with what it handed out before then, which is the same
// object, and is safe for concurrent use. A restore is waited for: until its end the state is not complete.
type stateReads struct {
	read func(context.Context) (state.ReadOnly, error)

	mu      sync.Mutex
	pending *stateRead
	last    state.ReadOnly
}

// stateRead is one call. All that ask meanwhile wait for it.
type stateRead struct {
	done chan struct{}
	// Set before done is closed.
	st  state.ReadOnly // nil with an error
	err error
}

// begin returns the call that is under way, or begins one.
func (r *stateReads) begin() (call *stateRead, last state.ReadOnly) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		call := &stateRead{done: make(chan struct{})}
		r.pending = call
		go func() {
			call.st, call.err = r.read(context.Background())
			r.mu.Lock()
			defer r.mu.Unlock()
			r.pending, r.last = nil, call.st
			close(call.done)
		}()
	}
	return r.pending, r.last
}

// State returns the shared state.
func (c *Consensus) State(ctx context.Context) (state.ReadOnly, error) {
	select {
	case <-c.applied:
	default: // What upstream hands out first is another state, which stays empty.
		return c.Consensus.State(ctx)
	}
	call, last := c.reads.begin()
	late := time.NewTimer(stateWait)
	defer late.Stop()
	select {
	case <-call.done:
		return call.st, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
	}
	if last != nil && c.store.pending.Load() == nil {
		return last, nil
	}
	select {
	case <-call.done:
		return call.st, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
