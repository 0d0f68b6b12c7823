package kubo

import "time"

// backoff is how long to wait before the next try: min at first, twice as long
// each time, at most max.
type backoff struct{ min, max, current time.Duration }

func (b *backoff) next() time.Duration {
	if b.current == 0 {
		b.current = b.min
	} else {
		b.current = min(2*b.current, b.max)
	}
	return b.current
}

func (b *backoff) reset() { b.current = 0 }
