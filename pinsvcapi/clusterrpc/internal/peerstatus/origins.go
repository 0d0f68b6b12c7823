package peerstatus

import (
	"encoding/binary"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// maxOrigins is the limit of the specification; other tools may store more.
const maxOrigins = 20

// OriginSet are the origins of a pin. A client sends the addresses of its own
// node with all of its pins, so a set is kept once for all pins that have it, and
// its text is made once. Sets are shared: they are read-only.
type OriginSet struct {
	Addrs []multiaddr.Multiaddr
	// Raw is the JSON form: a list of strings.
	Raw pinsvc.RawJSON
}

// internOrigins returns the number of a set of origins, in their order. Zero:
// there are none.
func (s *Placements) internOrigins(origins []api.Multiaddr) uint32 {
	if len(origins) == 0 {
		return 0
	}
	origins = origins[:min(len(origins), maxOrigins)]
	var room [512]byte
	key := room[:0]
	for _, origin := range origins {
		addr := origin.Value().Bytes()
		key = binary.AppendUvarint(key, uint64(len(addr)))
		key = append(key, addr...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origins.intern(key, func(string) *OriginSet { return newOriginSet(origins) })
}

func newOriginSet(origins []api.Multiaddr) *OriginSet {
	set := &OriginSet{}
	texts := make([]string, 0, len(origins))
	for _, origin := range origins {
		set.Addrs = append(set.Addrs, origin.Value())
		texts = append(texts, origin.Value().String())
	}
	set.Raw = pinsvc.RawStrings(texts)
	return set
}

// originSet returns nil for number 0.
func (s *Placements) originSet(number uint32) *OriginSet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.origins.at(number)
}
