// Package progress has counters of long reads, for the log and for readiness.
package progress

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Counter counts the pins of one read at a time. Now must be set; the rest of the
// zero value is ready for use. It is safe for concurrent use.
type Counter struct {
	Now   func() time.Time
	began atomic.Pointer[time.Time]
	pins  atomic.Int64
}

// Begin starts a read.
func (c *Counter) Begin() {
	now := c.Now()
	c.began.Store(&now)
	c.pins.Store(0)
}

// Step counts a pin.
func (c *Counter) Step() { c.pins.Add(1) }

// String is "120000 pins so far, 80000 a second".
func (c *Counter) String() string {
	began := c.began.Load()
	if began == nil {
		return "not begun"
	}
	pins := c.pins.Load()
	return fmt.Sprintf("%d pins so far, %.0f a second", pins, float64(pins)/max(c.Now().Sub(*began).Seconds(), 0.001))
}
