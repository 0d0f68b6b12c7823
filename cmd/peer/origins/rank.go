package origins

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// class is how likely an address can be connected to from another network.
// Lower is likelier.
type class int

const (
	public  class = iota // IP addresses and DNS names of the Internet.
	relayed              // Through a relay, or to be found by the peer ID.
	private              // Within a network that may be ours.
	local                // Loopback, link-local and unroutable addresses.
)

// classOf classifies an address without its /p2p component.
func classOf(addr multiaddr.Multiaddr) class {
	if len(addr) == 0 {
		return relayed // Only a peer ID.
	}
	_, err := addr.ValueForProtocol(multiaddr.P_CIRCUIT)
	circuit := err == nil
	switch {
	case manet.IsIPLoopback(addr), manet.IsIPUnspecified(addr), manet.IsIP6LinkLocal(addr):
		return local
	case manet.IsPublicAddr(addr) && circuit:
		return relayed
	case manet.IsPublicAddr(addr):
		return public
	case manet.IsPrivateAddr(addr), isDNS(addr):
		return private
	default:
		return local
	}
}

// isDNS includes names that only private networks resolve.
func isDNS(addr multiaddr.Multiaddr) bool {
	switch addr[0].Protocol().Code {
	case multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6, multiaddr.P_DNSADDR:
		return true
	default:
		return false
	}
}

// candidate is a node with those of its addresses that were given as origins,
// the most connectable first.
type candidate struct {
	id    peer.ID
	class class // Of the best address.
	addrs []multiaddr.Multiaddr
}

// candidates groups origins by node and returns the most connectable nodes
// first, at most maxNodes of them with at most maxAddrs addresses each. Neither
// the order nor repetitions of the origins change the result. Addresses without
// a peer ID are ignored.
func candidates(origins []multiaddr.Multiaddr, maxNodes, maxAddrs int) []candidate {
	byNode := make(map[peer.ID][]multiaddr.Multiaddr)
	for _, origin := range origins {
		addr, id := peer.SplitAddr(origin)
		if id == "" {
			continue
		}
		byNode[id] = append(byNode[id], addr)
	}
	nodes := make([]candidate, 0, len(byNode))
	for id, addrs := range byNode {
		addrs = sortAddrs(addrs)
		nodes = append(nodes, candidate{id: id, class: classOf(addrs[0]), addrs: addrs[:min(len(addrs), maxAddrs)]})
	}
	slices.SortFunc(nodes, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.id, b.id))
	})
	return nodes[:min(len(nodes), maxNodes)]
}

// sortAddrs sorts the most connectable addresses first and folds equal ones.
func sortAddrs(addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	slices.SortFunc(addrs, func(a, b multiaddr.Multiaddr) int {
		return cmp.Or(cmp.Compare(classOf(a), classOf(b)), bytes.Compare(a.Bytes(), b.Bytes()))
	})
	return slices.CompactFunc(addrs, func(a, b multiaddr.Multiaddr) bool { return a.Equal(b) })
}

// merge returns the addresses of both.
func merge(a, b []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	if len(b) == 0 {
		return a
	}
	return append(slices.Clip(a), b...)
}
