package clusterrpc_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// This file tells a slow service from a machine that leaves the test no processor.

const (
	// starved is a lag of goroutines at which calls between peers end for want of time.
	starved = 250 * time.Millisecond
	// lateAfter is longer than any request may take.
	lateAfter = 3 * time.Second
)

// unlessStarved makes a request, and makes it again where the answer was 503 or late and goroutines
// were as well; excused says that this happened. All other answers are returned.
func unlessStarved[T any](t *testing.T, what string, request func() (T, error)) (answer T, excused bool, err error) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		began := time.Now()
		lag := measureLag()
		answer, err = request()
		took, worst := time.Since(began), lag()
		unavailable := err != nil && pinsvc.KindOf(err) == pinsvc.KindUnavailable
		if !unavailable && took <= lateAfter {
			return answer, excused, err
		}
		if worst < starved || began.After(end) {
			t.Errorf("%s: %v after %s, while goroutines ran at most %s late", what, err, took, worst)
			return answer, excused, err
		}
		t.Logf("%s: %v after %s, while goroutines ran up to %s late", what, err, took, worst)
		if excused = true; !unavailable {
			return answer, excused, err
		}
	}
}

// measureLag returns how late a goroutine that wants to run every few milliseconds has run at most.
func measureLag() (worst func() time.Duration) {
	const every = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var most atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for last := time.Now(); ctx.Err() == nil; last = time.Now() {
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
			most.Store(max(most.Load(), int64(time.Since(last)-every)))
		}
	}()
	return func() time.Duration {
		cancel()
		<-done
		return time.Duration(most.Load())
	}
}
