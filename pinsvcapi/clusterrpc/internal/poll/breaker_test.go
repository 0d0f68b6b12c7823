package poll

import (
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
)

func TestBreaker(t *testing.T) {
	var clock clusterfake.Clock
	b := NewBreaker(clock.Now)
	check := func(when string, open bool, allow ...bool) {
		t.Helper()
		if b.Open(other) != open {
			t.Errorf("%s it is open: %t", when, !open)
		}
		for i, want := range allow {
			if got := b.Allow(other); got != want {
				t.Errorf("%s caller %d is allowed: %t", when, i, got)
			}
		}
		if b.Open(self) || !b.Allow(self) {
			t.Errorf("%s another peer is not allowed", when)
		}
	}
	check("at first", false, true, true)
	b.Failure(other)
	check("after a failure", true, false)
	clock.Advance(breakerPause - 1)
	check("before the pause is over", true, false)
	clock.Advance(1)
	check("after the pause", true, true, false, false)
	clock.Advance(breakerPause)
	check("when the first caller said nothing", true, true, false)
	b.Failure(other)
	clock.Advance(time.Second)
	check("after another failure", true, false)
	b.Success(other)
	check("after a success", false, true, true)
}

// Open is no call: it does not take the turn of the one that may try.
func TestBreaker_OpenTakesNoTurn(t *testing.T) {
	var clock clusterfake.Clock
	b := NewBreaker(clock.Now)
	b.Failure(other)
	clock.Advance(breakerPause)
	for range 3 {
		if !b.Open(other) {
			t.Error("it is closed")
		}
	}
	if !b.Allow(other) {
		t.Error("nobody is allowed")
	}
}
