package ratelimit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newLimiter(t *testing.T, interval time.Duration, burst, keys int) *Limiter {
	t.Helper()
	l, err := New(interval, burst, keys)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLimiter_BurstThenOneEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, 5*time.Second, 3, 10)
		for i := range 3 {
			if l.Wait("a") != 0 || !l.Take("a") {
				t.Fatalf("token %d is missing", i)
			}
		}
		if l.Take("a") {
			t.Error("a fourth token")
		}
		if got := l.Wait("a"); got != 5*time.Second {
			t.Errorf("Wait is %v, want 5s", got)
		}
		if l.Wait("b") != 0 || !l.Take("b") {
			t.Error("another key has no token")
		}
		time.Sleep(2 * time.Second)
		if got := l.Wait("a"); got < 2999*time.Millisecond || got > 3001*time.Millisecond {
			t.Errorf("Wait is %v, want 3s", got)
		}
		time.Sleep(3 * time.Second)
		if l.Wait("a") != 0 || !l.Take("a") || l.Take("a") {
			t.Error("want one token after 5s")
		}
	})
}

// A refused Take must not make the wait longer.
func TestLimiter_RefusedTakeCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, time.Second, 1, 10)
		l.Take("a")
		for range 100 {
			l.Take("a")
		}
		if got := l.Wait("a"); got != time.Second {
			t.Errorf("Wait is %v, want 1s", got)
		}
	})
}

func TestLimiter_MemoryIsBounded(t *testing.T) {
	l := newLimiter(t, time.Hour, 1, 100)
	for i := range 10_000 {
		l.Take(fmt.Sprint(i))
	}
	if n := l.buckets.Len(); n != 100 {
		t.Errorf("%d keys are remembered, want 100", n)
	}
	if l.Wait("9999") == 0 || l.Wait("0") != 0 {
		t.Error("the keys that were used last are not those that are remembered")
	}
}

func TestLimiter_ManyGoroutines(t *testing.T) {
	l := newLimiter(t, time.Hour, 50, 10)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			l.Wait("a")
			if l.Take("a") {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if taken.Load() != 50 {
		t.Errorf("%d tokens were taken, want 50", taken.Load())
	}
}

func TestNew_LimitsThatAreNoneAreErrors(t *testing.T) {
	for _, tt := range []struct {
		interval    time.Duration
		burst, keys int
	}{{0, 1, 1}, {-1, 1, 1}, {1, 0, 1}, {1, 1, 0}} {
		if _, err := New(tt.interval, tt.burst, tt.keys); err == nil {
			t.Errorf("New(%v, %d, %d) is no error", tt.interval, tt.burst, tt.keys)
		}
	}
}
