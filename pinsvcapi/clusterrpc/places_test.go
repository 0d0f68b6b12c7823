package clusterrpc

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// Whatever peers say in whatever order, a vector knows the last of each, and a
// placement that changes keeps those of the peers that stay.
func TestVectorsKnowWhatEachPeerSaidLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newPlaces()
		members := peerIDs(6)
		s.setMembers(members, time.Unix(1_800_000_000, 0))
		rec := allocated(1, rapid.IntRange(1, 6).Draw(t, "allocations"))
		if rapid.Bool().Draw(t, "everywhere") {
			rec = onEveryPeer()
		}
		at, vec := s.of(rec), uint32(0)
		told := make(map[peer.ID]standing)
		for range rapid.IntRange(0, 20).Draw(t, "answers") {
			p := rapid.SampledFrom(members).Draw(t, "peer")
			st := drawStanding(t)
			vec, told[p] = s.with(at, vec, p, st), st
		}
		check := func(at, vec uint32) {
			should, standings := s.holders(at, vec)
			for i, p := range should {
				if got, counts := s.look(at, vec, p); !counts || got != told[p] || standings[i] != told[p] {
					t.Fatalf("%s: %d (counts: %t), want %d", p, got, counts, told[p])
				}
			}
		}
		check(at, vec)
		before, _ := s.holders(at, 0)
		next := s.of(allocated(1, rapid.IntRange(1, 6).Draw(t, "new allocations")))
		for _, p := range members {
			kept := false
			for _, q := range before {
				kept = kept || p == q
			}
			if !kept {
				delete(told, p)
			}
		}
		check(next, s.moved(at, vec, next))
	})
}

// Pins that are everywhere in a large cluster make many vectors; those that
// no pin has any more are forgotten, and no other.
func TestVectorsThatNoPinHasAreForgotten(t *testing.T) {
	s, view := newPlaces(), pinset.New()
	members := peerIDs(20)
	s.setMembers(members, time.Unix(1_800_000_000, 0))
	at := s.of(onEveryPeer())
	const pins = 50
	for i := range pins {
		view.Put(pinset.Pin{CID: pinsvctest.RawCID(i), Status: pinsvc.StatusQueued, Placement: at})
	}
	// Each pin says a number in the standings of the peers.
	say := func(i, number int) {
		view.Update(pinsvctest.RawCID(i), func(m *pinset.Mutable) bool {
			for bit, p := range members {
				m.Vector = s.with(at, m.Vector, p, standingQueued+standing(number>>bit&1))
			}
			return true
		})
	}
	for number := range compactFrom {
		say(number%pins, number)
	}
	made := len(s.known)
	s.compact(view)
	if left := len(s.known); left > pins+1 || made < compactFrom {
		t.Errorf("%d vectors of %d are left, %d are in use", left, made, pins)
	}
	for i := range pins {
		p, _ := view.Get(pinsvctest.RawCID(i))
		last := compactFrom - 1 - (compactFrom-1-i)%pins
		for bit, q := range members {
			want := standingQueued + standing(last>>bit&1)
			if got, _ := s.look(at, p.Vector, q); got != want {
				t.Fatalf("pin %d: %s stands %d, want %d", i, q, got, want)
			}
		}
	}
	vectors := len(s.vectors)
	for number := range 1000 {
		say(0, compactFrom+number)
	}
	if len(s.vectors) != vectors {
		t.Error("the room of those that were forgotten is not used")
	}
}

func TestPlacementsAreShared(t *testing.T) {
	s := newPlaces()
	a := allocated(1, 3)
	b := allocated(1, 3)
	b.Allocations = []peer.ID{b.Allocations[2], b.Allocations[0], b.Allocations[1]}
	if s.of(a) != s.of(b) {
		t.Error("the order of allocations makes a placement")
	}
	if s.of(a) == s.of(allocated(2, 3)) || s.of(a) == s.of(onEveryPeer()) {
		t.Error("different placements are one")
	}
	for i := range 100 {
		rec := allocated(1, 1)
		rec.Allocations = []peer.ID{peer.ID(fmt.Sprint(i % 3))}
		s.of(rec)
	}
	if n := len(s.placements); n != 6 {
		t.Errorf("%d placements", n)
	}
}
