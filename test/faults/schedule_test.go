package faults

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestPlan_TheSeedReplays(t *testing.T) {
	p := Plan{Seed: 7, Mode: CRDT, Total: 30 * time.Minute, Round: 3 * time.Minute, Pause: 5 * time.Second, Peers: 3}
	first := p.Rounds()
	if !reflect.DeepEqual(first, p.Rounds()) {
		t.Error("the same plan has other rounds")
	}
	other := p
	other.Seed = 8
	if reflect.DeepEqual(first, other.Rounds()) {
		t.Error("another seed has the same rounds")
	}
	total := time.Duration(0)
	for _, r := range first {
		total += r.Load
	}
	if total != p.Total || len(first) != 10 {
		t.Errorf("%d rounds, %v in all", len(first), total)
	}
}

// Faults wait for the calm time of each round.
func TestPlan_Calm(t *testing.T) {
	p := Plan{Seed: 7, Mode: CRDT, Total: 30 * time.Minute, Round: 3 * time.Minute, Pause: 5 * time.Second, Peers: 3, Calm: 20 * time.Second}
	for i, r := range p.Rounds() {
		if len(r.Faults) < 10 {
			t.Errorf("round %d has %d faults", i, len(r.Faults))
		}
		for _, f := range r.Faults {
			if f.At < p.Calm {
				t.Errorf("round %d: %s after %v", i, f, f.At)
			}
		}
	}
}

// A pin that is not everywhere does not get another copy for one that is gone for good.
func TestPlan_Copies(t *testing.T) {
	for copies, want := range map[int][]FaultKind{0: {ReplaceFolder, ReplacePeer}, 1: nil, 2: {ReplaceFolder}, 3: {ReplaceFolder}} {
		var got []FaultKind
		for _, s := range (Plan{Mode: CRDT, Copies: copies}).kinds(true) {
			got = append(got, s.kind)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d copies: %q happen between rounds, want %q", copies, got, want)
		}
	}
}

// The short runs together have every kind, and each has those that happen between rounds. Each has a calm time, and one
// keeps fewer copies than there are peers.
func TestPlan_Short(t *testing.T) {
	seen := map[FaultKind]bool{}
	fewer := 0
	for _, m := range Modes() {
		p := short(m)
		if p.Copies > 0 && p.Copies < p.Peers {
			fewer++
		}
		if p.Calm < 4*time.Second {
			t.Errorf("%s: the calm time is %v", m, p.Calm)
		}
		kinds := map[FaultKind]bool{}
		for _, r := range p.Rounds() {
			for _, f := range slices.Concat(r.Before, r.Faults) {
				kinds[f.Kind], seen[f.Kind] = true, true
			}
		}
		for _, s := range p.kinds(true) {
			if !kinds[s.kind] {
				t.Errorf("%s: %q does not happen", m, s.kind)
			}
		}
		if possible := len(p.kinds(false)) + len(p.kinds(true)); len(kinds) < possible*3/4 {
			t.Errorf("%s: %d of %d kinds happen", m, len(kinds), possible)
		}
	}
	for _, s := range faultShapes() {
		if !seen[s.kind] {
			t.Errorf("%q happens in none", s.kind)
		}
	}
	if fewer == 0 {
		t.Error("each run keeps each pin everywhere")
	}
}

// Half an hour has at least a hundred faults, and every kind of its mode.
func TestPlan_HasAllKinds(t *testing.T) {
	for _, m := range Modes() {
		seen := map[FaultKind]int{}
		total := 0
		for seed := range uint64(10) {
			between := map[FaultKind]bool{}
			p := Plan{Seed: seed, Mode: m, Total: 30 * time.Minute, Round: 3 * time.Minute, Pause: 5 * time.Second, Peers: 3}
			n := 0
			for _, r := range p.Rounds() {
				for _, f := range r.Before {
					between[f.Kind] = true
				}
				for _, f := range append(r.Before, r.Faults...) {
					seen[f.Kind]++
					n++
					if f.Peer == f.Other || f.Peer < 0 || f.Peer >= 3 || f.Other < 0 || f.Other >= 3 || f.At >= r.Load {
						t.Fatalf("%s, seed %d: %+v", m, seed, f)
					}
				}
			}
			if len(between) != len(p.kinds(true)) {
				t.Errorf("%s, seed %d: between rounds happen %v", m, seed, between)
			}
			if n < 150 {
				t.Errorf("%s, seed %d: %d faults", m, seed, n)
			}
			total += n
		}
		for _, s := range faultShapes() {
			want := s.modes == nil || slices.Contains(s.modes, m)
			if (seen[s.kind] > 0) != want {
				t.Errorf("%s: %q happens %d times of %d", m, s.kind, seen[s.kind], total)
			}
		}
	}
}
