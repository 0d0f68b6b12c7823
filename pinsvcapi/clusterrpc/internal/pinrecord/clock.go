package pinrecord

import (
	"sync"
	"time"
)

// maxAhead bounds how far in the future a creation time may be that the clock
// follows. Clocks of peers differ by seconds. A record from a peer whose clock is
// wrong by years, or of a broken tool, must not decide the creation time of every
// later pin: such a record stays first in lists, and new pins come after it.
const maxAhead = 24 * time.Hour

// Clock hands out creation times: each later than all that it handed out or
// observed, whatever the clock of the machine does (D2). It is safe for
// concurrent use.
type Clock struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time
}

// NewClock returns a clock over now.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now} }

// Next is the current millisecond, or the one after the last when that is later.
func (c *Clock) Next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.now().UTC().Truncate(time.Millisecond)
	if !t.After(c.last) {
		t = c.last.Add(time.Millisecond)
	}
	c.last = t
	return t
}

// Observe notes a creation time that the shared state has. Times more than a day
// ahead are ignored.
func (c *Clock) Observe(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.last) && !t.After(c.now().Add(maxAhead)) {
		c.last = t
	}
}
