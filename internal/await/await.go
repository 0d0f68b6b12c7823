// Package await has tests wait for what comes about in the background. What never comes fails the
// test that waits, after Limit.
//
// It must not be imported outside tests. What takes a known time belongs into testing/synctest.
package await

import (
	"errors"
	"testing"
	"time"
)

// Limit bounds failures; no test waits for it to pass.
const Limit = time.Minute

// The pauses between two checks: short at first, because most things come at once.
const minPause, maxPause = time.Millisecond, 20 * time.Millisecond

// Success calls check again and again until it returns nil. The last error is told when it never does.
func Success(t testing.TB, what string, check func() error) {
	t.Helper()
	if err := poll(Limit, check); err != nil {
		t.Fatalf("%s: still %v after %s", what, err, Limit)
	}
}

// True calls holds again and again until it returns true.
func True(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if err := poll(Limit, func() error {
		if !holds() {
			return errNot
		}
		return nil
	}); err != nil {
		t.Fatalf("%s: not within %s", what, Limit)
	}
}

// Closed waits until a channel is closed, or has something to receive.
func Closed(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	limit := time.NewTimer(Limit)
	defer limit.Stop()
	select {
	case <-c:
	case <-limit.C:
		t.Fatalf("%s: not within %s", what, Limit)
	}
}

var errNot = errors.New("not yet")

func poll(limit time.Duration, check func() error) error {
	end := time.Now().Add(limit)
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := check()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(pause)
	}
}
