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

// Half an hour has at least a hundred faults, and every kind of its mode.
func TestPlan_HasAllKinds(t *testing.T) {
	for _, m := range Modes() {
		seen := map[FaultKind]int{}
		total := 0
		for seed := range uint64(10) {
			p := Plan{Seed: seed, Mode: m, Total: 30 * time.Minute, Round: 3 * time.Minute, Pause: 5 * time.Second, Peers: 3}
			n := 0
			for _, r := range p.Rounds() {
				for _, f := range append(r.Before, r.Faults...) {
					seen[f.Kind]++
					n++
					if f.Peer == f.Other || f.Peer < 0 || f.Peer >= 3 || f.Other < 0 || f.Other >= 3 || f.At >= r.Load {
						t.Fatalf("%s, seed %d: %+v", m, seed, f)
					}
				}
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
