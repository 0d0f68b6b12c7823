package faults

import (
	"testing"
	"time"
)

func TestCheckReads(t *testing.T) {
	always := func(time.Duration, time.Duration) bool { return true }
	never := func(time.Duration, time.Duration) bool { return false }
	for name, tt := range map[string]struct {
		ops   []Op
		calm  func(begin, end time.Duration) bool
		wrong int
	}{
		"it is known":              {story(write(0, "a"), elsewhere(1, "a")), always, 0},
		"a false 404":              {story(write(0, "a"), elsewhere(1, Absent)), always, 1},
		"an old value is no 404":   {story(write(0, "a"), write(0, "b"), elsewhere(1, "a")), always, 0},
		"while a peer is cut off":  {story(write(0, "a"), elsewhere(1, Absent)), never, 0},
		"it is deleted":            {story(write(0, "a"), remove(0), elsewhere(1, Absent)), always, 0},
		"before it is written":     {story(elsewhere(1, Absent), write(0, "a")), always, 0},
		"it was refused":           {story(ended(write(0, "a"), Refused), elsewhere(1, Absent)), always, 0},
		"nobody knows what it did": {story(write(0, "a"), ended(remove(0), Failed), elsewhere(1, Absent)), always, 0},
	} {
		if got := checkReads(tt.ops, tt.calm); len(got) != tt.wrong {
			t.Errorf("%s: got %q", name, got)
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
