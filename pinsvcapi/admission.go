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
// bodies and responses, has limits in bytes. Small responses have a limit of their
// own: they wait for no large one.
type admission struct {
	reads, writes            slots
	bodies, pages, responses *memory
	patience                 time.Duration
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
	// What requests may hold, in bytes: large bodies, rows and rendered pieces of long
	// pages, and other large responses.
	bodyMemory, pageMemory, responseMemory = 64 << 20, 144 << 20, 48 << 20
	// largeBody is the size from which a body or a response counts.
	largeBody = 64 << 10
)

func newAdmission(limit int) *admission {
	a := &admission{
		bodies: newMemory(bodyMemory), pages: newMemory(pageMemory), responses: newMemory(responseMemory),
		patience: admissionPatience,
	}
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

// hold waits until n bytes of a class may be in memory for a request. Few bytes need no
// permission: then the lease is nil.
func (a *admission) hold(ctx context.Context, m *memory, owner string, n int64) (*lease, error) {
	if n < largeBody {
		return nil, nil
	}
	var held *lease
	err := a.patiently(ctx, func(ctx context.Context) (err error) {
		held, err = m.wait(ctx, owner, n)
		return err
	})
	return held, err
}

func (a *admission) acquire(ctx context.Context, s *semaphore.Weighted, n int64) error {
	return a.patiently(ctx, func(ctx context.Context) error { return s.Acquire(ctx, n) })
}

// patiently waits for something as long as a request may.
func (a *admission) patiently(ctx context.Context, wait func(context.Context) error) error {
	patient, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	err := wait(patient)
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
