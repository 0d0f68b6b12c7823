// Package backoff computes the delays between retries: exponential growth
// between two bounds, with jitter, so that peers that failed together do not
// retry together.
package backoff

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// DefaultFactor is the growth from one delay to the next.
const DefaultFactor = 2

// Policy describes a series of delays. It is a value: it holds no state and
// may be shared.
type Policy struct {
	// Min is the first delay, Max the longest one. Max below Min means Min.
	Min, Max time.Duration
	// Factor multiplies the delay after each attempt; below 1 it means
	// DefaultFactor.
	Factor float64
	// Jitter is the share of a delay, from 0 to 1, that chance may take off:
	// with 0.2 a delay of 10s lasts between 8s and 10s.
	Jitter float64
}

// Delay is the delay after a number of failed attempts, the first being 1,
// without jitter.
func (p Policy) Delay(attempt int) time.Duration {
	longest := max(p.Min, p.Max)
	factor := p.Factor
	if factor < 1 {
		factor = DefaultFactor
	}
	delay := float64(p.Min) * math.Pow(factor, float64(max(attempt, 1)-1))
	if delay >= float64(longest) { // Infinity included.
		return longest
	}
	return time.Duration(delay)
}

// Next is Delay with jitter: it never exceeds Delay, and so not Max either.
func (p Policy) Next(attempt int) time.Duration {
	delay := p.Delay(attempt)
	share := min(max(p.Jitter, 0), 1)
	return delay - time.Duration(share*rand.Float64()*float64(delay))
}

// Counter counts the attempts of one series. The zero value with a Policy is
// ready for use. It is not safe for concurrent use.
type Counter struct {
	Policy
	attempt int
}

// Next counts a failed attempt and returns the delay before the next one.
func (c *Counter) Next() time.Duration {
	if c.attempt < math.MaxInt {
		c.attempt++
	}
	return c.Policy.Next(c.attempt)
}

// Reset starts the series anew.
func (c *Counter) Reset() { c.attempt = 0 }

// Attempts is the number of failed attempts since the last Reset.
func (c *Counter) Attempts() int { return c.attempt }

// Sleep waits for d and reports whether it did so to the end; false means
// that ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
