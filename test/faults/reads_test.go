package faults

import (
	"testing"
	"time"
)

func TestCheckReads(t *testing.T) {
	always := func(time.Duration, time.Duration) bool { return true }
	never := func(time.Duration, time.Duration) bool { return false }
	for name, tt := range map[string]struct {
		ops            []Op
		calm           func(begin, end time.Duration) bool
		checked, wrong int
	}{
		"it is known":              {story(write(0, "a"), elsewhere(1, "a")), always, 1, 0},
		"a false 404":              {story(write(0, "a"), elsewhere(1, Absent)), always, 1, 1},
		"an old value is no 404":   {story(write(0, "a"), write(0, "b"), elsewhere(1, "a")), always, 1, 0},
		"while a peer is cut off":  {story(write(0, "a"), elsewhere(1, Absent)), never, 0, 0},
		"it is deleted":            {story(write(0, "a"), remove(0), elsewhere(1, Absent)), always, 0, 0},
		"before it is written":     {story(elsewhere(1, Absent), write(0, "a")), always, 0, 0},
		"it was refused":           {story(ended(write(0, "a"), Refused), elsewhere(1, Absent)), always, 0, 0},
		"at home":                  {story(write(0, "a"), atHome(0, "a")), always, 0, 0},
		"nothing is said":          {story(write(0, "a"), ended(elsewhere(1, ""), Failed)), always, 0, 0},
		"nobody knows what it did": {story(write(0, "a"), ended(remove(0), Failed), elsewhere(1, Absent)), always, 0, 0},
	} {
		if checked, got := checkReads(tt.ops, tt.calm); len(got) != tt.wrong || checked != tt.checked {
			t.Errorf("%s: got %q of %d", name, got, checked)
		}
	}
}

func TestTroubles_Calm(t *testing.T) {
	var all troubles
	const s = time.Second
	all.began(10 * s)(20 * s)
	still := all.began(100 * s)
	for _, tt := range []struct {
		begin, end time.Duration
		calm       bool
	}{
		{0, 9 * s, true}, {9 * s, 11 * s, false}, {21 * s, 22 * s, false}, {51 * s, 99 * s, true}, {90 * s, 200 * s, false}, {150 * s, 200 * s, false},
	} {
		if got := all.calm(tt.begin, tt.end); got != tt.calm {
			t.Errorf("%v to %v: got %v", tt.begin, tt.end, got)
		}
	}
	still(110 * s)
	if !all.calm(150*s, 200*s) {
		t.Error("a fault that has ended goes on")
	}
}

// A fault that has ended is over at once when the peers were seen to agree and to hear of each other.
func TestTroubles_Over(t *testing.T) {
	var all troubles
	const s = time.Second
	all.began(10 * s)(20 * s)
	still := all.began(15 * s)
	all.over()
	if all.calm(30*s, 31*s) {
		t.Error("a fault that goes on is over")
	}
	still(32 * s)
	if all.calm(33*s, 34*s) {
		t.Error("a fault has just ended")
	}
	all.over()
	if !all.calm(33*s, 34*s) {
		t.Error("all faults are over")
	}
	all.began(40 * s)
	if all.calm(33*s, 41*s) {
		t.Error("another fault has begun")
	}
}
