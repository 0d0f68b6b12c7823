package poll

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// breakerPause is how long a peer that did not respond in time is not called, so
// that a page costs one timeout and not one for each of its pins.
const breakerPause = 5 * time.Second

// Breaker is a circuit breaker for each peer. It is written by hand because it is
// smaller than the use of a library. It is safe for concurrent use.
type Breaker struct {
	now func() time.Time

	mu    sync.Mutex
	until map[peer.ID]time.Time // of the peers whose circuit is open
}

// NewBreaker returns a breaker with all circuits closed.
func NewBreaker(now func() time.Time) *Breaker {
	return &Breaker{now: now, until: make(map[peer.ID]time.Time)}
}

// Allow reports whether the peer may be called. After the pause it returns true to
// one caller (half-open); the others are refused until that call ends.
func (b *Breaker) Allow(p peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, open := b.until[p]
	if !open {
		return true
	}
	now := b.now()
	if now.Before(until) {
		return false
	}
	b.until[p] = now.Add(breakerPause)
	return true
}

// Open reports whether the last call to the peer failed. It does not allow a call.
func (b *Breaker) Open(p peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, open := b.until[p]
	return open
}

// Failure opens the circuit of a peer that did not respond.
func (b *Breaker) Failure(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until[p] = b.now().Add(breakerPause)
}

// Success closes the circuit of a peer and reports whether it was open.
func (b *Breaker) Success(p peer.ID) (recovered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, recovered = b.until[p]
	delete(b.until, p)
	return recovered
}
