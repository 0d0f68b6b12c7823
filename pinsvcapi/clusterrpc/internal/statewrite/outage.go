package statewrite

import (
	"context"
	"sync"
	"time"
)

// electionTime is how long the consensus may be unavailable before writes are
// ended. Raft elects another leader in less.
const electionTime = 2 * time.Second

// outage is a time without consensus. mu closes the race between a write that begins
// and the end of an outage.
type outage struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time       // zero: there is none
	lost  context.Context // ends when the outage is longer than an election
	end   context.CancelCauseFunc
}

func newOutage(now func() time.Time) *outage {
	o := &outage{now: now}
	o.lost, o.end = context.WithCancelCause(context.Background())
	return o
}

// observe enters whether the consensus is available and returns the error if it has
// been unavailable for longer than an election takes.
func (o *outage) observe(unavailable error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	switch {
	case unavailable == nil && o.lost.Err() != nil:
		o.lost, o.end = context.WithCancelCause(context.Background())
		fallthrough
	case unavailable == nil:
		o.since = time.Time{}
		return nil
	case o.since.IsZero():
		o.since = now
	}
	if now.Sub(o.since) < electionTime {
		return nil
	}
	o.end(unavailable)
	return unavailable
}

// bound lets a context end with an outage, whose reason is its cause.
func (o *outage) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	o.mu.Lock()
	lost := o.lost
	o.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	if lost.Err() != nil {
		cancel(context.Cause(lost))
	}
	stop := context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
