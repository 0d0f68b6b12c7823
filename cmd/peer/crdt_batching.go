package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// batchingCRDT is a CRDT consensus with batching that loses no accepted change,
// neither at a shutdown nor when the request that submitted it ends. It is by
// hand because of two upstream faults (U6 in docs/upstream-faults.md): the
// queue keeps the context of the request, which has ended when the change's
// turn comes, so that removals, which read the store, fail; and a shutdown
// while the worker is busy makes it panic, with the batch uncommitted.
type batchingCRDT struct {
	ipfscluster.Consensus
	// maxAge is how long a change may stay in a batch.
	maxAge time.Duration

	mu     sync.Mutex // Orders submissions, so that the last one is known.
	last   submission
	closed bool
}

// submission is the change that was queued last, and so is committed last.
type submission struct {
	pin   api.Pin
	unpin bool
	at    time.Time // Zero when nothing was submitted.
}

const (
	// maxDrain bounds the wait for a batch. A batch with a longer age waits
	// for more changes, and upstream's shutdown commits it.
	maxDrain = 5 * time.Second
	// drainPoll is how often the state is read for the last change, and
	// drainGrace how long the worker may go on once the state shows it.
	drainPoll, drainGrace = 20 * time.Millisecond, 200 * time.Millisecond
)

var errBatchClosed = errors.New("the peer is shutting down")

// LogPin accepts a pin.
func (b *batchingCRDT) LogPin(ctx context.Context, pin api.Pin) error {
	return b.submit(ctx, pin, false)
}

// LogUnpin accepts an unpin.
func (b *batchingCRDT) LogUnpin(ctx context.Context, pin api.Pin) error {
	return b.submit(ctx, pin, true)
}

// submit queues a change. The lock is held while upstream puts the change into
// its queue, which does not block for long.
func (b *batchingCRDT) submit(ctx context.Context, pin api.Pin, unpin bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errBatchClosed
	}
	log := b.Consensus.LogPin
	if unpin {
		log = b.Consensus.LogUnpin
	}
	if err := log(context.WithoutCancel(ctx), pin); err != nil {
		return err
	}
	b.last = submission{pin, unpin, time.Now()}
	return nil
}

// Shutdown refuses further changes, waits until the worker has processed the
// queue, and shuts the consensus down.
func (b *batchingCRDT) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	last := b.last
	b.last = submission{}
	b.mu.Unlock()
	limit := min(b.maxAge, maxDrain) + time.Second
	if !last.at.IsZero() && time.Since(last.at) < b.maxAge+limit {
		b.drain(ctx, last, limit)
	}
	return b.Consensus.Shutdown(ctx)
}

// drain returns shortly after the state shows the last change, or when the
// limit is reached.
func (b *batchingCRDT) drain(ctx context.Context, last submission, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !b.committed(ctx, last) {
		if !backoff.Sleep(ctx, drainPoll) {
			return
		}
	}
	backoff.Sleep(ctx, drainGrace)
}

// committed reports whether the state shows a change.
func (b *batchingCRDT) committed(ctx context.Context, change submission) bool {
	st, err := b.State(ctx)
	if err != nil {
		return false
	}
	pin, err := st.Get(ctx, change.pin.Cid)
	if change.unpin || err != nil {
		return change.unpin && errors.Is(err, state.ErrNotFound)
	}
	now, errNow := pin.ProtoMarshal()
	want, errWant := change.pin.ProtoMarshal()
	return errNow == nil && errWant == nil && string(now) == string(want)
}
