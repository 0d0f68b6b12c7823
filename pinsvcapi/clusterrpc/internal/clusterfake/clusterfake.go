// Package clusterfake has fakes of what the engine depends on: the RPC services of
// an IPFS Cluster peer (Services), a clock, an event source and the health of
// components. Tests of clusterrpc and of the packages under internal share it.
//
// It must not be imported outside tests and benchmarks.
package clusterfake

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Self is the peer that the fake services belong to.
func Self() peer.ID { return mustDecode("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA") }

// Other is another peer. Calls to it go to the same services.
func Other() peer.ID { return mustDecode("12D3KooWGxxWn3G95xAEGAse1wQKk8XiLUCk3sLLvDuGC7tojW8R") }

func mustDecode(text string) peer.ID {
	id, err := peer.Decode(text)
	if err != nil {
		panic(err) // The texts above are valid.
	}
	return id
}

// Clock stands still until a test moves it. Its times have no monotonic reading, so
// it can be set back. The zero value is ready for use.
type Clock struct {
	// Running: the clock is that of the machine, as far as a test moved it.
	Running bool

	offset, step atomic.Int64
}

// Now is the time of the clock, which starts in January 2027 unless it is running.
func (c *Clock) Now() time.Time {
	if c.Running {
		return setWall(time.Now().Add(time.Duration(c.offset.Load())), time.Duration(c.step.Load()))
	}
	return time.Unix(1_800_000_000, 0).Add(time.Duration(c.offset.Load()))
}

// Advance moves the clock; a negative duration sets it back.
func (c *Clock) Advance(d time.Duration) { c.offset.Add(int64(d)) }

// Step sets the wall clock of a running clock by whole seconds, as an operator or NTP does: the
// monotonic clock goes on.
func (c *Clock) Step(d time.Duration) { c.step.Add(int64(d)) }

// setWall changes the wall clock reading of a time and leaves its monotonic one, for which there
// is no function. A Time that has both keeps the seconds in the bits from 30 on of its first word.
func setWall(t time.Time, d time.Duration) time.Time {
	monotonic := t
	*(*uint64)(unsafe.Pointer(&t)) += uint64(d/time.Second) << 30
	if d != 0 && (t.Sub(monotonic) != 0 || t.Round(0).Sub(monotonic.Round(0)) != d) {
		panic("time.Time has another form in this release of Go")
	}
	return t
}

// Events is an event source whose events a test sends. The zero value is ready for
// use. The type of events is a parameter because this package imports no package
// whose tests use it.
type Events[E any] struct {
	mu          sync.Mutex
	subscribers map[int]func(E)
	next        int
}

// Subscribe has f called with every event until cancel is called.
func (e *Events[E]) Subscribe(f func(E)) (cancel func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.subscribers == nil {
		e.subscribers = make(map[int]func(E))
	}
	id := e.next
	e.next++
	e.subscribers[id] = f
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subscribers, id)
	}
}

// Send sends an event to all subscribers.
func (e *Events[E]) Send(event E) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.subscribers {
		f(event)
	}
}

// Subscribers is the number of subscriptions.
func (e *Events[E]) Subscribers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subscribers)
}

// Health is the health of components as a test sets it. The zero value is healthy.
type Health struct {
	mu              sync.Mutex
	consensus, ipfs error
}

// Consensus returns why the consensus is unavailable, or nil.
func (h *Health) Consensus() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.consensus
}

// IPFS returns why the IPFS node is unavailable, or nil.
func (h *Health) IPFS() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ipfs
}

// Set sets both.
func (h *Health) Set(consensus, ipfs error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.consensus, h.ipfs = consensus, ipfs
}
