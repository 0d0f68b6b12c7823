package clusterrpc

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// vector is one standing for each peer of a placement, in its order. For pins
// that are everywhere and for roots see places.index. Standings at the end
// that are unknown are left out; number 0 is the empty vector.
type vector struct {
	standings string
	epoch     uint32 // when it was last seen in use
}

// with returns the vector in which one peer has another standing.
func (s *places) with(at, vec uint32, p peer.ID, st standing) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := 0
	if s.placements[at].kind != placedInParts {
		i = s.index(at, s.number(p))
	}
	if i < 0 {
		return vec
	}
	var room [64]byte
	next := append(room[:0], s.vectors[vec].standings...)
	for len(next) <= i {
		next = append(next, byte(standingUnknown))
	}
	next[i] = byte(st)
	return s.intern(next)
}

// moved returns the vector of a pin that got another placement: peers that
// should hold it before and after keep their standing.
func (s *places) moved(from, vec, to uint32) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.placements[from].kind == placedInParts || s.placements[to].kind == placedInParts {
		return 0
	}
	var next []byte
	for i := range s.vectors[vec].standings {
		number := i
		if p := s.placements[from]; p.kind == placedAt {
			number = p.peers[i]
		}
		j := s.index(to, number)
		if j < 0 {
			continue
		}
		for len(next) <= j {
			next = append(next, byte(standingUnknown))
		}
		next[j] = s.vectors[vec].standings[i]
	}
	return s.intern(next)
}

// rewritten returns the vector of a pin whose record was written again.
func (s *places) rewritten(vec uint32) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := []byte(s.vectors[vec].standings)
	for i := range next {
		next[i] = byte(afterRewrite(standing(next[i])))
	}
	return s.intern(next)
}

// intern returns the number of a vector. It needs the lock.
func (s *places) intern(standings []byte) uint32 {
	for n := len(standings); n > 0 && standing(standings[n-1]) == standingUnknown; n-- {
		standings = standings[:n-1]
	}
	if vec, ok := s.known[string(standings)]; ok {
		s.vectors[vec].epoch = s.epoch
		return vec
	}
	v := vector{string(standings), s.epoch}
	vec := uint32(len(s.vectors))
	if n := len(s.unused); n > 0 {
		vec = s.unused[n-1]
		s.unused = s.unused[:n-1]
		s.vectors[vec] = v
	} else {
		s.vectors = append(s.vectors, v)
	}
	s.known[v.standings] = vec
	return vec
}

// compactFrom is how many vectors there must be before compact is worth it.
const compactFrom = 1 << 14

// compact forgets vectors that no pin of the view has any more. A vector is
// made and given to a pin under one hold of the view's lock, so one that is
// made meanwhile is of this epoch, or is seen with its pin.
func (s *places) compact(view *pinset.View) {
	s.mu.Lock()
	if len(s.known) < compactFrom {
		s.mu.Unlock()
		return
	}
	s.epoch++
	s.mu.Unlock()
	view.UpdateAll(func(_ string, m *pinset.Mutable) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.vectors[m.Vector].epoch = s.epoch
		return false
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for vec := 1; vec < len(s.vectors); vec++ {
		if v := s.vectors[vec]; v.standings != "" && v.epoch != s.epoch {
			delete(s.known, v.standings)
			s.vectors[vec] = vector{}
			s.unused = append(s.unused, uint32(vec))
		}
	}
	clear(s.shown) // Freed numbers get another meaning.
}
