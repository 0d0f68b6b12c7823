package pinsvcapi

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// drainLimits are the times of a stop.
type drainLimits struct {
	// roundTrip is more than a packet takes to a client on the other side of the earth and
	// an answer takes back.
	roundTrip time.Duration
	// making is for how long connections are waited for that clients are making. It is
	// enough for a packet of the handshake that was lost, and is sent again after a second.
	making time.Duration
	// first is for how long a connection may be silent before its first request. It is enough
	// for a handshake of TLS and the request after it, also if a packet of them is lost.
	first time.Duration
}

func defaultDrainLimits() drainLimits {
	return drainLimits{roundTrip: 500 * time.Millisecond, making: 2 * time.Second, first: 2 * time.Second}
}

// within has each of the limits leave most of that time.
func (d drainLimits) within(timeout time.Duration) drainLimits {
	most := timeout / 4
	return drainLimits{roundTrip: min(d.roundTrip, most), making: min(d.making, most), first: min(d.first, most)}
}

// deadliner is a listener of the kernel's, in whose queue connections wait that clients
// have made and that nobody has accepted.
type deadliner interface {
	net.Listener
	SetDeadline(time.Time) error
}

// drain has Accept accept what clients have connected until now, also what is being
// connected, and returns once each has a slot, or ctx ends. New connections are kept out;
// where the system cannot do that, they are accepted for limits.making at most. The
// listener is closed then, but Close is to follow.
//
// Close alone resets what waits in the kernel's queue, also whole requests.
func (l *boundedListener) drain(ctx context.Context, limits drainLimits) {
	inner, ok := l.Listener.(deadliner)
	if !ok || ctx.Err() != nil {
		return
	}
	closeInner := func() { logFault("closing a listener", l.closeInner()) }
	if err := keepOut(inner); err != nil {
		logger.Debugf("new connections to %s are accepted for a moment more: %v", l.Addr(), err)
		defer time.AfterFunc(limits.making, closeInner).Stop()
	}
	now := time.Now()
	l.queue.Store(&queueDrain{listener: inner, all: l.all, limits: limits, began: now, last: now})
	logFault("ending a listener", inner.SetDeadline(now))
	select {
	case <-l.drained:
	case <-ctx.Done():
	}
	closeInner()
}

// queueDrain accepts what waits in the kernel's queue of a listener until nothing does. It
// belongs to the goroutine that accepts.
type queueDrain struct {
	listener    deadliner
	all         *connections
	limits      drainLimits
	began, last time.Time // the latter of the last connection
	failed      bool
}

// acceptLook is how long one look into a queue lasts.
const acceptLook = 10 * time.Millisecond

// accept returns the next connection, or an error once there is none to wait for.
func (q *queueDrain) accept() (net.Conn, error) {
	for empty := 0; empty < 2; { // A connection is in neither table for a moment.
		if err := q.listener.SetDeadline(time.Now().Add(acceptLook)); err != nil {
			return nil, err
		}
		conn, err := q.listener.Accept()
		switch {
		case err == nil:
			q.last = time.Now()
			return conn, nil
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case !errors.Is(err, os.ErrDeadlineExceeded):
			if !q.retry(err) {
				return nil, err
			}
			empty = 0
		case q.isEmpty():
			empty++
		default:
			empty = 0
		}
	}
	return nil, os.ErrDeadlineExceeded
}

// isEmpty reports whether no connection waits, and none is being made that is worth
// waiting for.
func (q *queueDrain) isEmpty() bool {
	halfOpen, waiting, err := pending(q.listener)
	if err != nil { // Nothing is known.
		return time.Since(q.last) >= q.limits.roundTrip
	}
	return !waiting && (halfOpen == 0 || time.Since(q.began) >= q.limits.making)
}

// retry waits a moment for what may make another try succeed: mostly, that a connection
// ends and gives back its file descriptor. It reports whether that can be.
func (q *queueDrain) retry(err error) bool {
	if len(q.all.slots) == 0 && time.Since(q.began) >= q.limits.making {
		logger.Warnf("the connections that wait at %s are lost: %v", q.listener.Addr(), err)
		return false
	}
	if !q.failed {
		q.failed = true
		logger.Warnf("a connection that waits at %s cannot be accepted yet: %v", q.listener.Addr(), err)
	}
	defer q.all.wait()() // The connection that has been idle longest makes place.
	<-time.After(acceptLook)
	return true
}
