package clusterrpc

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// choiceAge is how long the cluster's choices of the peers for new pins are used. They
	// follow from metrics that the peers send every 30 s by default.
	choiceAge = time.Second
	// maxChoices is how many choices are asked for in that time. Among peers with equal
	// metrics the cluster's allocator picks any, so that one choice for all pins of a
	// second would favour a peer for as long.
	maxChoices = 16
)

// choices are the last choices of the cluster's allocator for new pins, used in turn, so that
// not every new pin costs a call of it. The zero value has none. It is safe for concurrent use.
type choices struct {
	mu    sync.Mutex
	since time.Time // of the first one
	made  [][]peer.ID
	used  int
}

// next returns one of the choices, or false when another is to be asked for.
func (c *choices) next(now time.Time) ([]peer.ID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	if len(c.made) < maxChoices {
		return nil, false
	}
	c.used++
	return slices.Clone(c.made[c.used%maxChoices]), true
}

// add enters a choice that the cluster made.
func (c *choices) add(peers []peer.ID, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	if len(c.made) == 0 {
		c.since = now
	}
	if len(c.made) < maxChoices {
		c.made = append(c.made, slices.Clone(peers))
	}
}

// expire needs the lock.
func (c *choices) expire(now time.Time) {
	if age := now.Sub(c.since); age < 0 || age >= choiceAge {
		c.made = nil
	}
}

// purge drops all choices: the members of the cluster have changed.
func (c *choices) purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = nil
}
