package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
)

// batched is a CRDT consensus with batching that loses nothing of what it has
// accepted when it is shut down, and does not lose it to the impatience of
// whoever submitted it either.
//
// Upstream accepts a change by putting it into a queue, with the context of
// the request, which is over when the change's turn comes; removals read the
// store and fail then. And when it is shut down while its worker is at work,
// the worker may take the closed queue for a change and panic, with the batch
// in its hands. So shutting down waits until the worker has nothing to do.
type batched struct {
	ipfscluster.Consensus
	// age is how long a change may stay in a batch.
	age time.Duration

	mu   sync.Mutex
	last lastChange
	over bool
}

// lastChange is the change that was submitted last, and so is made last.
type lastChange struct {
	pin  api.Pin
	gone bool
	at   time.Time // zero without one
}

const (
	// maxDrain bounds the wait for a batch. One that is older has its worker
	// wait for more, and upstream commits it.
	maxDrain = 5 * time.Second
	// drainLook is how often the state is read for a change, and lull how
	// long the worker is left alone once the state shows it.
	drainLook, lull = 20 * time.Millisecond, 200 * time.Millisecond
)

var errBatchOver = errors.New("the peer is shutting down")

// LogPin accepts a pin.
func (b *batched) LogPin(ctx context.Context, pin api.Pin) error {
	return b.submit(ctx, pin, false)
}

// LogUnpin accepts an unpin.
func (b *batched) LogUnpin(ctx context.Context, pin api.Pin) error {
	return b.submit(ctx, pin, true)
}

// submit holds the lock while upstream takes the change, which is no more than
// putting it into the queue, so that the last one is known.
func (b *batched) submit(ctx context.Context, pin api.Pin, gone bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return errBatchOver
	}
	log := b.Consensus.LogPin
	if gone {
		log = b.Consensus.LogUnpin
	}
	if err := log(context.WithoutCancel(ctx), pin); err != nil {
		return err
	}
	b.last = lastChange{pin, gone, time.Now()}
	return nil
}

// Shutdown takes no more changes, waits until those that it has taken are made
// or wait for nothing but time, and shuts the consensus down.
func (b *batched) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	b.over = true
	last := b.last
	b.last = lastChange{}
	b.mu.Unlock()
	if wait := min(b.age, maxDrain) + time.Second; !last.at.IsZero() && time.Since(last.at) < b.age+wait {
		b.drain(ctx, last, wait)
	}
	return b.Consensus.Shutdown(ctx)
}

// drain returns when the state shows the last change, and a moment later, or
// when it has waited long enough.
func (b *batched) drain(ctx context.Context, last lastChange, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := drainLook; ; {
		if b.shows(ctx, last) {
			pause = lull
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if pause == lull || ctx.Err() != nil {
			return
		}
	}
}

// shows reports whether the state has a change.
func (b *batched) shows(ctx context.Context, change lastChange) bool {
	st, err := b.State(ctx)
	if err != nil {
		return false
	}
	pin, err := st.Get(ctx, change.pin.Cid)
	if change.gone || err != nil {
		return change.gone && errors.Is(err, state.ErrNotFound)
	}
	now, errNow := pin.ProtoMarshal()
	want, errWant := change.pin.ProtoMarshal()
	return errNow == nil && errWant == nil && string(now) == string(want)
}
