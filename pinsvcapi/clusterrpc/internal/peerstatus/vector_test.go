package peerstatus

import (
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// In whatever order peers report, a vector has the last state of each, and a
// placement that changes keeps the states of the peers that stay.
func TestPlacements_VectorHasTheLastStateOfEachPeer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newPlacements()
		members := peerIDs(6)
		s.setMembers(members, time.Unix(1_800_000_000, 0))
		rec := allocatedTo(1, rapid.IntRange(1, 6).Draw(t, "allocations"))
		if rapid.Bool().Draw(t, "everywhere") {
			rec = onEveryPeer()
		}
		placement, vector := s.of(rec), uint32(0)
		last := make(map[peer.ID]State)
		for range rapid.IntRange(0, 20).Draw(t, "reports") {
			p := rapid.SampledFrom(members).Draw(t, "peer")
			st := drawState(t)
			vector, last[p] = s.withState(placement, vector, p, st), st
		}
		check := func(placement, vector uint32) {
			holders, _ := s.holders(placement)
			for _, p := range holders {
				if got, counts := s.state(placement, vector, p); !counts || got != last[p] {
					t.Fatalf("%s: %s (counts: %t), want %s", p, got, counts, last[p])
				}
			}
		}
		check(placement, vector)
		before, _ := s.holders(placement)
		next := s.of(allocatedTo(1, rapid.IntRange(1, 6).Draw(t, "new allocations")))
		for _, p := range members {
			if !slices.Contains(before, p) {
				delete(last, p)
			}
		}
		moved := s.movedTo(placement, vector, next)
		check(next, moved)
		for p, st := range last {
			last[p] = st.afterRewrite()
		}
		check(next, s.rewritten(moved))
	})
}

// manyVectors is a view of pins that are everywhere in a cluster of 20. set gives a
// pin a vector that spells a number.
type manyVectors struct {
	*Placements
	view      *pinset.View
	members   []peer.ID
	placement uint32
	pins      int
}

func newManyVectors(pins int) *manyVectors {
	v := &manyVectors{Placements: newPlacements(), view: pinset.New(), members: peerIDs(20), pins: pins}
	v.setMembers(v.members, time.Unix(1_800_000_000, 0))
	v.placement = v.of(onEveryPeer())
	for i := range pins {
		v.view.Put(pinset.Pin{CID: pinsvctest.RawCID(i), Status: pinsvc.StatusQueued, Placement: v.placement})
	}
	return v
}

func (v *manyVectors) set(i, number int) {
	v.view.Update(pinsvctest.RawCID(i), func(m *pinset.Mutable) bool {
		for bit, p := range v.members {
			m.Vector = v.withState(v.placement, m.Vector, p, Queued+State(number>>bit&1))
		}
		return true
	})
}

// fill makes enough vectors for compact to act. Each pin keeps the last one.
func (v *manyVectors) fill(from int) {
	for number := range compactFrom {
		v.set(number%v.pins, from+number)
	}
}

// Pins that are everywhere in a large cluster make many vectors. Those that no pin
// has any more are reclaimed, and no other.
func TestPlacements_CompactReclaimsUnusedVectors(t *testing.T) {
	const pins = 50
	v := newManyVectors(pins)
	v.fill(0)
	made := v.vectors.len()
	v.compact(v.view)
	if left := v.vectors.len(); left > pins+1 || made < compactFrom {
		t.Errorf("%d vectors of %d are left, %d are in use", left, made, pins)
	}
	for i := range pins {
		p, _ := v.view.Get(pinsvctest.RawCID(i))
		last := compactFrom - 1 - (compactFrom-1-i)%pins
		for bit, q := range v.members {
			want := Queued + State(last>>bit&1)
			if got, _ := v.state(v.placement, p.Vector, q); got != want {
				t.Fatalf("pin %d: %s at %s, want %s", i, got, q, want)
			}
		}
	}
	// The numbers are used again after one more pass over the view.
	v.fill(compactFrom)
	v.compact(v.view)
	entries := len(v.vectors.entries)
	for number := range 1000 {
		v.set(0, 2*compactFrom+number)
	}
	if len(v.vectors.entries) != entries {
		t.Error("the room of reclaimed vectors is not used")
	}
}

func TestPlacements_CompactLeavesFewVectorsAlone(t *testing.T) {
	v := newManyVectors(1)
	v.set(0, 1)
	v.set(0, 2)
	before := v.vectors.len()
	v.compact(v.view)
	if v.vectors.len() != before {
		t.Error("a pass over the view for a few vectors")
	}
}

// C30: a page of the list takes the number of a row, and reads its summary after
// Compact has reclaimed the number and other pins got new vectors.
func TestPlacements_ReclaimedNumberStillTellsTheOldStates(t *testing.T) {
	v := newManyVectors(50)
	first, _ := v.view.Get(pinsvctest.RawCID(0))
	v.view.Update(first.CID, func(m *pinset.Mutable) bool {
		m.Vector = v.withState(v.placement, 0, v.members[0], Pinned)
		return true
	})
	page, _ := v.view.Get(first.CID)
	before := *v.summary(page.Placement, page.Vector)
	v.fill(0) // No pin has the vector of the page any more.
	v.compact(v.view)
	v.fill(compactFrom)

	for i := range v.pins {
		if row, _ := v.view.Get(pinsvctest.RawCID(i)); row.Vector == page.Vector {
			t.Fatalf("pin %d got the number that a page may still have", i)
		}
	}
	after := v.summary(page.Placement, page.Vector)
	if after.Status != before.Status || after.RawInfo != before.RawInfo || after.Pinned != 1 {
		t.Errorf("%s %s, before %s %s", after.Status, after.RawInfo, before.Status, before.RawInfo)
	}
	if st, _ := v.state(page.Placement, page.Vector, v.members[0]); st != Pinned {
		t.Errorf("state %s, want the one of the page", st)
	}
}
