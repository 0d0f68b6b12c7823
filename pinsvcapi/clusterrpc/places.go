package clusterrpc

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// places gives small numbers to what many pins have in common: which peers
// should hold them, and what each of those peers last said. The view keeps the
// two numbers with each pin, so what is known of a pin's statuses costs 8
// bytes.
//
// There are as many placements as there are combinations of allocations in
// use, and as many vectors as combinations of answers; the former stay (about
// 200 bytes each), the latter are swept out by compact. Peers that leave the
// cluster keep their number.
type places struct {
	mu         sync.RWMutex
	numbers    map[peer.ID]int
	peers      []peer.ID
	members    []int // numbers, in the order of the IDs
	departed   []int // who was a member not long ago
	lastMember []time.Time
	isMember   []bool
	placements []placement
	placed     map[string]uint32
	vectors    []vector
	known      map[string]uint32
	unused     []uint32 // vectors that compact freed
	epoch      uint32
	shown      map[showing]*verdict
}

// placement is who should hold a pin.
type placement struct {
	kind  placementKind
	need  int // how many of them make it pinned
	peers []int
}

type placementKind uint8

const (
	// placedAt is on the peers of the list.
	placedAt placementKind = iota
	// placedEverywhere is on every member; peers is empty.
	placedEverywhere
	// placedInParts is a sharded root: the parts are elsewhere, and the one
	// standing of its vector is what they make together.
	placedInParts
)

// showing is what a status depends on beside single failures.
type showing struct{ placement, vector uint32 }

func newPlaces() *places {
	return &places{
		numbers: make(map[peer.ID]int), placed: make(map[string]uint32),
		vectors: make([]vector, 1), known: map[string]uint32{"": 0},
		shown: make(map[showing]*verdict),
	}
}

// number needs the lock.
func (s *places) number(p peer.ID) int {
	n, ok := s.numbers[p]
	if !ok {
		n = len(s.peers)
		s.numbers[p] = n
		s.peers = append(s.peers, p)
		s.isMember = append(s.isMember, false)
		s.lastMember = append(s.lastMember, time.Time{})
	}
	return n
}

// numberOf is number for those who do not hold the lock.
func (s *places) numberOf(p peer.ID) int {
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
func (s *places) id(number int) peer.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if number < 0 {
		return ""
	}
	return s.peers[number]
}

// memberFor is how long a peer counts that was a member. Under CRDT a peer
// that is away is soon no member any more, but it holds what it held; one
// that was taken out of the cluster looks the same.
const memberFor = time.Hour

// setMembers tells who the members are, in the order of their IDs, and reports
// whether that changes who counts.
func (s *places) setMembers(members []peer.ID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers := make([]int, len(members))
	for i, p := range members {
		numbers[i] = s.number(p)
	}
	clear(s.isMember)
	for _, n := range numbers {
		s.isMember[n] = true
		s.lastMember[n] = now
	}
	var departed []int
	for n, last := range s.lastMember {
		if !s.isMember[n] && !last.IsZero() && now.Sub(last) <= memberFor {
			departed = append(departed, n)
		}
	}
	if s.members != nil && slices.Equal(numbers, s.members) && slices.Equal(departed, s.departed) {
		return false
	}
	s.members, s.departed = numbers, departed
	clear(s.shown)
	return true
}

// memberIDs are the members as last told.
func (s *places) memberIDs() []peer.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ids(s.members)
}

// ids needs the lock.
func (s *places) ids(numbers []int) []peer.ID {
	ids := make([]peer.ID, len(numbers))
	for i, n := range numbers {
		ids[i] = s.peers[n]
	}
	return ids
}

// of returns the number of a record's placement.
func (s *places) of(rec api.Pin) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := placement{kind: placedAt, need: enough(rec)}
	switch {
	case rec.Type == api.MetaType:
		p = placement{kind: placedInParts, need: 1}
	case everywhere(rec):
		p = placement{kind: placedEverywhere, need: 1}
	default:
		for _, id := range rec.Allocations {
			p.peers = append(p.peers, s.number(id))
		}
		slices.Sort(p.peers)
		p.peers = slices.Compact(p.peers)
	}
	key := p.key()
	if at, ok := s.placed[string(key)]; ok {
		return at
	}
	s.placements = append(s.placements, p)
	at := uint32(len(s.placements) - 1)
	s.placed[string(key)] = at
	return at
}

// anyInParts reports whether there ever was a sharded root.
func (s *places) anyInParts() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.placed[string(placement{kind: placedInParts, need: 1}.key())]
	return ok
}

// key tells placements apart.
func (p placement) key() []byte {
	key := binary.AppendUvarint([]byte{byte(p.kind)}, uint64(p.need))
	for _, n := range p.peers {
		key = binary.AppendUvarint(key, uint64(n))
	}
	return key
}

// kind is of a placement.
func (s *places) kind(at uint32) placementKind {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.placements[at].kind
}

// wanted are the peers that should hold a pin and how many of them make it
// pinned; nobody for a sharded root.
func (s *places) wanted(at uint32) (should []peer.ID, need int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ids(s.should(at)), s.placements[at].need
}

// holders are the peers that should hold a pin, each with what is known of it.
func (s *places) holders(at, vec uint32) ([]peer.ID, []standing) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	numbers := s.should(at)
	standings := make([]standing, len(numbers))
	for i, n := range numbers {
		standings[i] = s.standing(at, vec, n)
	}
	return s.ids(numbers), standings
}

// should are the numbers of the peers that should hold a pin. It needs the
// lock; the slice is read-only.
func (s *places) should(at uint32) []int {
	if p := s.placements[at]; p.kind == placedAt {
		return p.peers
	} else if p.kind == placedEverywhere {
		return s.members
	}
	return nil
}

// index is where in a vector the standing of a peer is, or -1 when the peer
// does not count. It needs the lock.
func (s *places) index(at uint32, number int) int {
	switch p := s.placements[at]; p.kind {
	case placedEverywhere:
		return number
	case placedInParts:
		return 0
	default:
		return slices.Index(p.peers, number)
	}
}

// standing needs the lock.
func (s *places) standing(at, vec uint32, number int) standing {
	i := s.index(at, number)
	if v := s.vectors[vec].standings; i >= 0 && i < len(v) {
		return standing(v[i])
	}
	return standingUnknown
}

// asked reports whether any peer that should hold the pin has said anything.
func (s *places) asked(at, vec uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.placements[at].kind == placedInParts {
		return vec != 0
	}
	for _, n := range s.should(at) {
		if s.standing(at, vec, n) != standingUnknown {
			return true
		}
	}
	return false
}

// look returns what is known of one peer about a pin; counts says whether the
// peer should hold it.
func (s *places) look(at, vec uint32, p peer.ID) (st standing, counts bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.placements[at].kind == placedInParts {
		return s.standing(at, vec, 0), true
	}
	number, ok := s.numbers[p]
	if !ok || s.index(at, number) < 0 {
		return standingUnknown, false
	}
	if s.placements[at].kind == placedEverywhere && !s.isMember[number] {
		return standingUnknown, false
	}
	return s.standing(at, vec, number), true
}

// judge makes the status of a pin of its placement and vector.
func (s *places) judge(m *pinset.Mutable) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m.Status = s.verdict(m.Placement, m.Vector).status
}

// show is judge with all that is known. The verdict is shared: it is
// read-only.
func (s *places) show(at, vec uint32) *verdict {
	key := showing{at, vec}
	s.mu.RLock()
	v, ok := s.shown[key]
	s.mu.RUnlock()
	if ok {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	made := s.verdict(at, vec)
	if len(s.shown) >= maxShown {
		clear(s.shown)
	}
	made.plain = made.info()
	made.rendered = pinsvc.RawPairs(made.plain)
	s.shown[key] = &made
	return &made
}

// maxShown bounds the verdicts that are kept ready.
const maxShown = 1 << 14

// verdict needs the lock.
func (s *places) verdict(at, vec uint32) verdict {
	if s.placements[at].kind == placedInParts {
		return rootVerdict(s.standing(at, vec, 0))
	}
	var count tally
	for _, n := range s.should(at) {
		count.add(s.standing(at, vec, n))
	}
	if s.placements[at].kind == placedEverywhere {
		for _, n := range s.departed {
			if st := s.standing(at, vec, n); st == standingHolds || st == standingRewritten {
				count.add(st)
			}
		}
	}
	return count.judge(s.placements[at].need)
}

// inFlight are the statuses of pins that something is still to become of.
const inFlight = pinsvc.StatusSet(1<<pinsvc.StatusQueued | 1<<pinsvc.StatusPinning)
