package pinsvc

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

// Limits of the origins of a pin.
const (
	MaxOrigins = 20
	// MaxOriginBytes bounds the text of one origin. The longest that nodes
	// announce (relayed WebTransport with two certificates) have about 400.
	MaxOriginBytes = 1024
)

// DroppedOrigins are the numbers of origins of a request that its Pin does not
// have. Origins only help to find the content, so they are no reason to refuse
// the pin.
type DroppedOrigins struct {
	// Unknown were not understood: no multiaddress, one of a protocol that
	// this version does not know, or longer than MaxOriginBytes.
	Unknown int
	// Excess were the least useful of more than MaxOrigins.
	Excess int
}

// decodedOrigins are the origins of a request.
type decodedOrigins struct {
	known []multiaddr.Multiaddr
	// positions are those of the known ones in the request.
	positions []int
	unknown   int
}

// decodeOrigins reads a JSON array of strings. It counts what it does not
// understand.
func decodeOrigins(data []byte) (origins decodedOrigins, err error) {
	var values []json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil {
		return decodedOrigins{}, fmt.Errorf("origins: should be an array of strings, not %s", jsonobject.Kind(data))
	}
	for i, value := range values {
		text, err := decodeString(value)
		if err != nil {
			return decodedOrigins{}, fmt.Errorf("origins[%d]: %w", i, err)
		}
		addr, ok := parseOrigin(text)
		if !ok {
			origins.unknown++
			continue
		}
		origins.known = append(origins.known, addr)
		origins.positions = append(origins.positions, i)
	}
	return origins, nil
}

// check is checkOrigin for all that are known.
func (o decodedOrigins) check() error {
	for i, addr := range o.known {
		if err := checkOrigin(addr); err != nil {
			return fmt.Errorf("origins[%d]: %w", o.positions[i], err)
		}
	}
	return nil
}

func parseOrigin(text string) (multiaddr.Multiaddr, bool) {
	if len(text) > MaxOriginBytes {
		return nil, false
	}
	addr, err := multiaddr.NewMultiaddr(text)
	return addr, err == nil
}

// checkOrigin wants the end that the specification prescribes for all
// multiaddresses, /p2p/{peerID}. An address without it cannot be dialled, and
// the client should know.
func checkOrigin(origin multiaddr.Multiaddr) error {
	if !endsWithPeer(origin) {
		return fmt.Errorf("%s does not end with /p2p/<peer ID>", quote(origin.String()))
	}
	return nil
}

func endsWithPeer(addr multiaddr.Multiaddr) bool {
	return len(addr) > 0 && addr[len(addr)-1].Code() == multiaddr.P_P2P
}

// peerOf is the binary form of the peer ID at the end of an address; empty when
// there is none.
func peerOf(addr multiaddr.Multiaddr) string {
	if !endsWithPeer(addr) {
		return ""
	}
	return string(addr[len(addr)-1].RawValue())
}

// selectOrigins removes repeated origins, keeps the MaxOrigins most useful ones
// in the client's order, and counts the rest. Which ones it keeps does not depend
// on the order: nodes list the addresses of all their interfaces, in any order.
//
// Which reach this service can dial is not known here: in a LAN, the only usable
// origin may be a private one among many public ones. So each reach has a reserve
// (see reserveOf). The rest of MaxOrigins are the most useful of the others:
// addresses of distinct peers go before more addresses of one peer, and among
// them the better reach (see reachOf). An address that can be dialled only on its
// own machine, or not at all, comes after all others.
func selectOrigins(all []multiaddr.Multiaddr) (kept []multiaddr.Multiaddr, excess int) {
	if len(all) <= MaxOrigins { // Nearly always.
		for _, addr := range all {
			if !slices.ContainsFunc(kept, addr.Equal) {
				kept = append(kept, addr)
			}
		}
		return kept, 0
	}
	candidates := distinctOrigins(all)
	if len(candidates) > MaxOrigins {
		excess = len(candidates) - MaxOrigins
		rankOrigins(candidates)
		slices.SortFunc(candidates, compareUsefulness)
		candidates = reservedFirst(candidates)[:MaxOrigins]
		slices.SortFunc(candidates, func(a, b originCandidate) int { return cmp.Compare(a.position, b.position) })
	}
	for _, c := range candidates {
		kept = append(kept, c.addr)
	}
	return kept, excess
}

// reserveOf is how many of MaxOrigins are for addresses of that reach, if there
// are so many. The sum is MaxOrigins.
func reserveOf(r reach) int {
	switch r {
	case reachPublic:
		return 10
	case reachRelayed, reachPrivate:
		return 3
	case reachUnknown, reachLoopback:
		return 2
	default:
		return 0
	}
}

// reservedFirst moves the first of each reach, as many as reserveOf returns, before
// all others.
func reservedFirst(candidates []originCandidate) []originCandidate {
	var reserved, others []originCandidate
	taken := make(map[reach]int)
	for _, c := range candidates {
		if taken[c.reach] < reserveOf(c.reach) {
			taken[c.reach]++
			reserved = append(reserved, c)
		} else {
			others = append(others, c)
		}
	}
	return append(reserved, others...)
}

// originCandidate is an origin among those to select from.
type originCandidate struct {
	addr     multiaddr.Multiaddr
	key      string // binary form
	position int    // in the request
	reach    reach
	// rank is the number of better addresses of the same peer.
	rank int
}

func distinctOrigins(all []multiaddr.Multiaddr) []originCandidate {
	seen := make(map[string]bool, len(all))
	var distinct []originCandidate
	for i, addr := range all {
		key := string(addr.Bytes())
		if !seen[key] {
			seen[key] = true
			distinct = append(distinct, originCandidate{addr: addr, key: key, position: i})
		}
	}
	return distinct
}

// rankOrigins sets reach and rank.
func rankOrigins(candidates []originCandidate) {
	for i := range candidates {
		candidates[i].reach = reachOf(candidates[i].addr)
	}
	slices.SortFunc(candidates, func(a, b originCandidate) int {
		return cmp.Or(cmp.Compare(a.reach, b.reach), cmp.Compare(a.key, b.key))
	})
	peers := make(map[string]int)
	for i := range candidates {
		id := peerOf(candidates[i].addr)
		candidates[i].rank = peers[id]
		peers[id]++
	}
}

func compareUsefulness(a, b originCandidate) int {
	last := func(c originCandidate) int {
		if c.reach >= reachLoopback {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(a.rank, b.rank),
		cmp.Compare(a.reach, b.reach), cmp.Compare(a.key, b.key))
}

// reach is from where an address can be dialled; smaller is more useful.
type reach uint8

const (
	reachPublic reach = iota
	reachRelayed
	reachPrivate
	// reachUnknown is a peer ID alone: routing may know addresses of it.
	reachUnknown
	reachLoopback
	// reachNone is an address without a host, or without a transport that
	// IPFS nodes have.
	reachNone
)

func reachOf(addr multiaddr.Multiaddr) reach {
	host, relayed, dialable := false, false, false
	for _, c := range addr {
		switch c.Protocol().Code {
		case multiaddr.P_IP4, multiaddr.P_IP6, multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6:
			host = true
		case multiaddr.P_DNSADDR:
			host, dialable = true, true
		case multiaddr.P_TCP, multiaddr.P_QUIC_V1, multiaddr.P_WEBRTC_DIRECT:
			dialable = true
		case multiaddr.P_CIRCUIT:
			relayed = true
		}
	}
	startsWithPeer := len(addr) > 0 && addr[0].Protocol().Code == multiaddr.P_P2P
	switch {
	case startsWithPeer && relayed:
		return reachRelayed
	case startsWithPeer:
		return reachUnknown
	case !host || !dialable || manet.IsIPUnspecified(addr):
		return reachNone
	case isLoopback(addr):
		return reachLoopback
	case !manet.IsPublicAddr(addr):
		return reachPrivate
	case relayed:
		return reachRelayed
	default:
		return reachPublic
	}
}

// isLoopback reports whether the address is one of its own machine, by IP or as
// the name localhost.
func isLoopback(addr multiaddr.Multiaddr) bool {
	if manet.IsIPLoopback(addr) {
		return true
	}
	switch addr[0].Protocol().Code {
	case multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6, multiaddr.P_DNSADDR:
		return manet.IsPrivateAddr(addr) // True of no other names.
	default:
		return false
	}
}
