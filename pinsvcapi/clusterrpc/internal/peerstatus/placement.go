package peerstatus

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Placements interns what many pins share: which peers should hold them, the
// state of each of those peers, and the origins of their content. The view keeps
// three numbers with each pin.
//
// There are as many placements as combinations of allocations in use, about 200
// bytes each; they stay. Vectors and origin sets are reclaimed by Compact. Peers
// that leave the cluster keep their number.
type Placements struct {
	mu         sync.RWMutex
	numbers    map[peer.ID]int
	peers      []peer.ID
	members    memberList
	presence   presence
	placements []placement
	byKey      map[string]uint32
	vectors    interner[string]
	origins    interner[*OriginSet]

	summaries *lru.Cache[summaryKey, *Summary]
}

// placement is who should hold a pin.
type placement struct {
	kind     placementKind
	required int // how many of the holders make the pin pinned
	peers    []int
}

type placementKind uint8

const (
	// allocated: the peers of the list.
	allocated placementKind = iota
	// everywhere: every member; the list is empty.
	everywhere
	// sharded: the content is in shards that are pinned elsewhere. The vector
	// has one state, that of all shards together.
	sharded
)

// summaryKey identifies a cached summary: the placement and the vector.
type summaryKey struct{ placement, vector uint32 }

// maxSummaries bounds the cached summaries.
const maxSummaries = 1 << 14

func newPlacements() *Placements {
	summaries, err := lru.New[summaryKey, *Summary](maxSummaries)
	if err != nil {
		panic(err) // Only a size below 1 fails.
	}
	return &Placements{
		numbers: make(map[peer.ID]int), byKey: make(map[string]uint32),
		vectors: newInterner[string](), origins: newInterner[*OriginSet](), summaries: summaries,
	}
}

// number needs the lock.
func (s *Placements) number(p peer.ID) int {
	n, ok := s.numbers[p]
	if !ok {
		n = len(s.peers)
		s.numbers[p] = n
		s.peers = append(s.peers, p)
		s.members.grow()
	}
	return n
}

// numberOf is number without the lock held.
func (s *Placements) numberOf(p peer.ID) int {
	s.mu.RLock()
	n, ok := s.numbers[p]
	s.mu.RUnlock()
	if ok {
		return n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number(p)
}

// id is the inverse of numberOf.
func (s *Placements) id(number int) peer.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if number < 0 {
		return ""
	}
	return s.peers[number]
}

// setMembers replaces the members, which are sorted by ID, and reports whether
// that changes which states count.
func (s *Placements) setMembers(members []peer.ID, now time.Time) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers := make([]int, len(members))
	for i, p := range members {
		numbers[i] = s.number(p)
	}
	if changed = s.members.set(numbers, now); changed {
		s.summaries.Purge()
	}
	return changed
}

func (s *Placements) memberIDs() []peer.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ids(s.members.current)
}

// ids needs the lock.
func (s *Placements) ids(numbers []int) []peer.ID {
	ids := make([]peer.ID, len(numbers))
	for i, n := range numbers {
		ids[i] = s.peers[n]
	}
	return ids
}

// of returns the number of the placement of a record.
func (s *Placements) of(rec api.Pin) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := placement{kind: allocated, required: RequiredReplicas(rec)}
	switch {
	case rec.Type == api.MetaType:
		p = placement{kind: sharded, required: 1}
	case Everywhere(rec):
		p = placement{kind: everywhere, required: 1}
	default:
		for _, id := range rec.Allocations {
			p.peers = append(p.peers, s.number(id))
		}
		slices.Sort(p.peers)
		p.peers = slices.Compact(p.peers)
	}
	key := p.key()
	if n, ok := s.byKey[string(key)]; ok {
		return n
	}
	s.placements = append(s.placements, p)
	n := uint32(len(s.placements) - 1)
	s.byKey[string(key)] = n
	return n
}

// hasSharded reports whether there ever was a sharded root.
func (s *Placements) hasSharded() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.byKey[string(placement{kind: sharded, required: 1}.key())]
	return ok
}

// key identifies a placement.
func (p placement) key() []byte {
	key := binary.AppendUvarint([]byte{byte(p.kind)}, uint64(p.required))
	for _, n := range p.peers {
		key = binary.AppendUvarint(key, uint64(n))
	}
	return key
}

func (s *Placements) kind(placement uint32) placementKind {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.placements[placement].kind
}

// holders are the peers that should hold a pin and how many of them make it
// pinned; none for a sharded root.
func (s *Placements) holders(placement uint32) (ids []peer.ID, required int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ids(s.holderNumbers(placement)), s.placements[placement].required
}

// holderNumbers needs the lock; the slice is read-only.
func (s *Placements) holderNumbers(placement uint32) []int {
	switch p := s.placements[placement]; p.kind {
	case allocated:
		return p.peers
	case everywhere:
		return s.members.current
	default:
		return nil
	}
}

// index is the position of a peer in a vector, or -1 when the peer does not
// count. It needs the lock.
func (s *Placements) index(placement uint32, number int) int {
	switch p := s.placements[placement]; p.kind {
	case everywhere:
		return number
	case sharded:
		return 0
	default:
		return slices.Index(p.peers, number)
	}
}

// stateAt needs the lock.
func (s *Placements) stateAt(placement, vector uint32, number int) State {
	i := s.index(placement, number)
	if states := s.vectors.at(vector); i >= 0 && i < len(states) {
		return State(states[i])
	}
	return Unknown
}

// state returns the state of a peer; counts reports whether the peer should hold
// the pin.
func (s *Placements) state(placement, vector uint32, p peer.ID) (st State, counts bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	kind := s.placements[placement].kind
	if kind == sharded {
		return s.stateAt(placement, vector, 0), true
	}
	number, ok := s.numbers[p]
	if !ok || s.index(placement, number) < 0 || kind == everywhere && !s.members.isCurrent[number] {
		return Unknown, false
	}
	return s.stateAt(placement, vector, number), true
}

// observed reports whether any peer that should hold the pin has reported.
func (s *Placements) observed(placement, vector uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.placements[placement].kind == sharded {
		return vector != 0
	}
	for _, n := range s.holderNumbers(placement) {
		if s.stateAt(placement, vector, n) != Unknown {
			return true
		}
	}
	return false
}

// summary returns the cached summary of a pin.
func (s *Placements) summary(placement, vector uint32) *Summary {
	key := summaryKey{placement, vector}
	if sum, ok := s.summaries.Get(key); ok {
		return sum
	}
	// Under the lock, so that a change of the members comes before or after.
	s.mu.RLock()
	defer s.mu.RUnlock()
	sum := s.summarize(placement, vector)
	sum.render()
	s.summaries.Add(key, &sum)
	return &sum
}

// summarize needs the lock.
func (s *Placements) summarize(placement, vector uint32) Summary {
	p := s.placements[placement]
	if p.kind == sharded {
		return rootSummary(s.stateAt(placement, vector, 0))
	}
	var c counts
	var away []int
	add := func(n int, st State) {
		c.add(st)
		if s.presence.isAway(n) {
			away = append(away, n)
			if st == Pinned || st == Rewritten {
				c.away++
			}
		}
	}
	for _, n := range s.holderNumbers(placement) {
		add(n, s.stateAt(placement, vector, n))
	}
	if p.kind == everywhere {
		for _, n := range s.members.departed {
			if st := s.stateAt(placement, vector, n); st == Pinned || st == Rewritten {
				add(n, st)
			}
		}
	}
	sum := c.summary(p.required)
	sum.away = s.describeAway(away)
	return sum
}

func (s *Placements) sizes() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return map[string]int{
		"placements": len(s.placements), "vectors": s.vectors.len(), "origins": s.origins.len(), "summaries": s.summaries.Len(),
	}
}
