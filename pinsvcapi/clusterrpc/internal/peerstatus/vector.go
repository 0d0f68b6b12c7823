package peerstatus

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// A vector is a string with one State for each peer of a placement, in its order
// (by peer number for pins that are everywhere, a single one for sharded roots;
// see Placements.index). Unknown states at the end are left out.

// withState returns the vector in which one peer has another state.
func (s *Placements) withState(placement, vector uint32, p peer.ID, st State) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := 0
	if s.placements[placement].kind != sharded {
		i = s.index(placement, s.number(p))
	}
	if i < 0 {
		return vector
	}
	var room [64]byte
	next := append(room[:0], s.vectors.at(vector)...)
	for len(next) <= i {
		next = append(next, byte(Unknown))
	}
	next[i] = byte(st)
	return s.internVector(next)
}

// movedTo returns the vector of a pin that got another placement: peers of both
// keep their state.
func (s *Placements) movedTo(from, vector, to uint32) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.placements[from].kind == sharded || s.placements[to].kind == sharded {
		return 0
	}
	states := s.vectors.at(vector)
	var next []byte
	for i := range states {
		number := i
		if p := s.placements[from]; p.kind == allocated {
			number = p.peers[i]
		}
		j := s.index(to, number)
		if j < 0 {
			continue
		}
		for len(next) <= j {
			next = append(next, byte(Unknown))
		}
		next[j] = states[i]
	}
	return s.internVector(next)
}

// rewritten returns the vector of a pin whose record was written again.
func (s *Placements) rewritten(vector uint32) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := []byte(s.vectors.at(vector))
	for i := range next {
		next[i] = byte(State(next[i]).afterRewrite())
	}
	return s.internVector(next)
}

// internVector needs the lock.
func (s *Placements) internVector(states []byte) uint32 {
	for n := len(states); n > 0 && State(states[n-1]) == Unknown; n-- {
		states = states[:n-1]
	}
	return s.vectors.intern(states, func(key string) string { return key })
}

// compactFrom is how many vectors or origin sets there must be for compact to be
// worth a pass over the view.
const compactFrom = 1 << 14

// compact reclaims vectors and origin sets that no pin of the view has any more.
// Both are interned and given to a pin under one hold of the view's lock, so one
// that is made meanwhile is of this epoch, or is seen with its pin.
func (s *Placements) compact(view *pinset.View) {
	s.mu.Lock()
	if s.vectors.len() < compactFrom && s.origins.len() < compactFrom {
		s.mu.Unlock()
		return
	}
	s.vectors.beginSweep()
	s.origins.beginSweep()
	s.mu.Unlock()
	view.All(func(_ string, m pinset.Mutable) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.vectors.used(m.Vector)
		s.origins.used(m.Origins)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vectors.sweep()
	s.origins.sweep()
	s.summaries.Purge() // Reclaimed numbers get another meaning.
}
