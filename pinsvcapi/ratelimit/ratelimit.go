// Package ratelimit limits how often something happens, for each of many keys
// such as client addresses. Its memory is bounded: the keys that were not used
// for the longest time are forgotten.
package ratelimit

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Limiter has a token bucket for each key. All methods may be called by many
// goroutines at once.
type Limiter struct {
	rate  rate.Limit
	burst int

	mu sync.Mutex // guards buckets; a bucket has a lock of its own
	// buckets holds the keys that have taken a token; all others have a full
	// bucket.
	buckets *simplelru.LRU[string, *rate.Limiter]
}

// New makes a Limiter whose buckets hold burst tokens and get one more each
// interval. It remembers as many keys.
func New(interval time.Duration, burst, keys int) (*Limiter, error) {
	if interval <= 0 || burst < 1 {
		return nil, fmt.Errorf("a rate limit of %d and one more each %s is none", burst, interval)
	}
	buckets, err := simplelru.NewLRU[string, *rate.Limiter](keys, nil)
	if err != nil {
		return nil, fmt.Errorf("a rate limit for %d keys: %w", keys, err)
	}
	return &Limiter{rate: rate.Every(interval), burst: burst, buckets: buckets}, nil
}

// Wait returns how long the key has to wait for a token, zero if it has one.
// It takes none.
func (l *Limiter) Wait(key string) time.Duration {
	l.mu.Lock()
	bucket, ok := l.buckets.Get(key)
	l.mu.Unlock()
	if !ok {
		return 0
	}
	missing := 1 - bucket.TokensAt(time.Now())
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(l.rate) * float64(time.Second))
}

// Take takes a token of the key and reports whether it had one.
func (l *Limiter) Take(key string) bool {
	l.mu.Lock()
	bucket, ok := l.buckets.Get(key)
	if !ok {
		bucket = rate.NewLimiter(l.rate, l.burst)
		l.buckets.Add(key, bucket)
	}
	l.mu.Unlock()
	return bucket.AllowN(time.Now(), 1)
}
