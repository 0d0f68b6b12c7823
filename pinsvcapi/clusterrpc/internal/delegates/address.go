package delegates

import (
	"cmp"
	"slices"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// addressClass is who can dial an address, the most useful first.
type addressClass uint8

const (
	addressPublic addressClass = iota
	addressRelayed
	addressPrivate
	addressLoopback
	addressUseless
)

// address is one of an IPFS node's, ending in /p2p/<its ID>.
type address struct {
	text  string
	class addressClass
}

// usable are the addresses of a node that a client may dial, the most useful first
// and otherwise in the order of the node.
func usable(node api.IPFSID) []address {
	var usable []address
	if node.Error != "" || node.ID == "" {
		return nil
	}
	for _, a := range node.Addresses {
		addr, ok := ofNode(a.Value(), node.ID)
		if !ok {
			continue
		}
		if class := classOf(addr); class != addressUseless {
			usable = append(usable, address{addr.String(), class})
		}
	}
	slices.SortStableFunc(usable, func(a, b address) int { return cmp.Compare(a.class, b.class) })
	return usable
}

// ofNode returns the address with /p2p/<id> at its end, unless it is that of
// another node.
func ofNode(addr multiaddr.Multiaddr, id peer.ID) (multiaddr.Multiaddr, bool) {
	if len(addr) == 0 {
		return nil, false
	}
	transport, owner := peer.SplitAddr(addr)
	switch {
	case len(transport) == 0:
		return nil, false
	case owner != "":
		return addr, owner == id
	}
	suffix, err := multiaddr.NewComponent("p2p", id.String())
	if err != nil {
		return nil, false
	}
	return addr.AppendComponent(suffix), true
}

// classOf returns who can dial an address.
func classOf(addr multiaddr.Multiaddr) addressClass {
	_, relay := addr.ValueForProtocol(multiaddr.P_CIRCUIT)
	switch {
	case manet.IsIPUnspecified(addr), manet.IsIP6LinkLocal(addr):
		return addressUseless
	case manet.IsIPLoopback(addr):
		return addressLoopback
	case !manet.IsPublicAddr(addr):
		return addressPrivate
	case relay == nil:
		return addressRelayed
	default:
		return addressPublic
	}
}

// choose makes one list of the addresses of several nodes: only those of the
// best class that there is, each once, the addresses of one node together,
// and every node before any node's surplus.
func choose(groups [][]address) []string {
	best := addressUseless
	for _, group := range groups {
		if len(group) > 0 {
			best = min(best, group[0].class)
		}
	}
	seen := make(map[string]bool)
	var lists [][]string
	for _, group := range groups {
		var list []string
		for _, a := range group {
			if a.class == best && !seen[a.text] {
				seen[a.text] = true
				list = append(list, a.text)
			}
		}
		if len(list) > 0 {
			lists = append(lists, list)
		}
	}
	return share(lists, maxDelegates)
}

// share joins lists to at most room entries; when there are more, they are
// cut to lengths that differ by no more than they must.
func share(lists [][]string, room int) []string {
	take := make([]int, len(lists))
	for grown := true; grown && room > 0; {
		grown = false
		for i := range lists {
			if room > 0 && take[i] < len(lists[i]) {
				take[i]++
				room--
				grown = true
			}
		}
	}
	var all []string
	for i, list := range lists {
		all = append(all, list[:take[i]]...)
	}
	return all
}
