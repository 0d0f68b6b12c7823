package pinsvcapi

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// admission bounds what the service works on at once, so that more load makes
// requests fail early instead of all of them late. Reads and writes have a limit
// of their own: writes that wait for a slow disk leave reads alone.
//
// A request takes its slot after its body was read and gives it back before its
// response is sent, so that slow clients hold none. What they do hold, large
// bodies and responses, has a limit in bytes.
type admission struct {
	reads, writes slots
	memory        *semaphore.Weighted
	patience      time.Duration
}

// slots bound the requests of one class. What waits is bounded too.
type slots struct {
	free    *semaphore.Weighted
	waiting atomic.Int64
	limit   int64
}

const (
	// admissionPatience is how long a request waits for its turn.
	admissionPatience = 5 * time.Second
	// shedRetryAfter is when a refused client should try again.
	shedRetryAfter = 2 * time.Second
	// waitingPerSlot is how many requests may wait for each slot.
	waitingPerSlot = 4
	// admissionMemory bounds the large bodies and responses in memory, in bytes,
	// and largeBody is the size from which one counts.
	admissionMemory = 256 << 20
	largeBody       = 64 << 10
)

func newAdmission(limit int) *admission {
	a := &admission{memory: semaphore.NewWeighted(admissionMemory), patience: admissionPatience}
	for _, s := range []*slots{&a.reads, &a.writes} {
		s.free, s.limit = semaphore.NewWeighted(int64(limit)), int64(limit)
	}
	return a
}

// enter waits for a slot for a request of this cost; leave gives it back.
// Requests that touch no pin need none.
func (a *admission) enter(ctx context.Context, cost int) (leave func(), err error) {
	s := &a.reads
	switch {
	case cost == costNone:
		return func() {}, nil
	case cost >= costWrite:
		s = &a.writes
	}
	if s.free.TryAcquire(1) {
		return func() { s.free.Release(1) }, nil
	}
	if s.waiting.Add(1) > waitingPerSlot*s.limit {
		s.waiting.Add(-1)
		return nil, a.shed()
	}
	defer s.waiting.Add(-1)
	if err := a.acquire(ctx, s.free, 1); err != nil {
		return nil, err
	}
	return func() { s.free.Release(1) }, nil
}

// hold waits until n bytes may be in memory for this request. Few bytes need no
// permission.
func (a *admission) hold(ctx context.Context, n int64) (release func(), err error) {
	if n < largeBody {
		return func() {}, nil
	}
	n = min(n, admissionMemory)
	if err := a.acquire(ctx, a.memory, n); err != nil {
		return nil, err
	}
	return func() { a.memory.Release(n) }, nil
}

func (a *admission) acquire(ctx context.Context, s *semaphore.Weighted, n int64) error {
	patient, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	err := s.Acquire(patient, n)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return a.shed()
	}
	return err // The client has gone, or the service stops.
}

// shed is the failure of a request for which there is no room.
func (a *admission) shed() error {
	return &pinsvc.Error{
		Kind:       pinsvc.KindUnavailable,
		Details:    "the service has as many requests as it can serve (max_concurrent_requests); nothing was changed, try again",
		RetryAfter: shedRetryAfter,
	}
}
