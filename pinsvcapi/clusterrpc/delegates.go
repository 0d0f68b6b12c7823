package clusterrpc

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// maxDelegates is the specification's. Kubo dials them one after the
	// other, so the best come first and hopeless ones are left out.
	maxDelegates = 20
	// delegatesFresh is how old the addresses of a peer may be before they
	// are asked for again, in the background.
	delegatesFresh = time.Minute
	// delegatesFailed is how long a peer is not asked again that did not
	// tell its addresses.
	delegatesFailed = 5 * time.Second
)

// addressClass is how far an address can be of use, the best first.
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

// delegates knows the addresses of the IPFS nodes of the cluster's peers. It
// keeps those that a peer told last for as long as it lives, because nodes
// rarely move and are often away for a moment.
type delegates struct {
	cluster cluster
	now     func() time.Time
	timeout time.Duration
	tasks   *tasks

	mu    sync.Mutex
	known map[peer.ID]*nodeAddresses

	places placeDelegates
}

type nodeAddresses struct {
	addresses []address
	asked     time.Time     // when the last question began
	asking    chan struct{} // closed when it has been answered; nil if none is open
}

// of returns the delegates for a pin that these peers should hold; none when
// no peer has ever told an address. It waits only for peers that nothing is
// known of.
func (d *delegates) of(ctx context.Context, peers []peer.ID) []string {
	groups := make([][]address, len(peers))
	var waits []chan struct{}
	for i, p := range peers {
		addresses, asking := d.look(p)
		if groups[i] = addresses; len(addresses) == 0 && asking != nil {
			waits = append(waits, asking)
		}
	}
	for _, wait := range waits {
		select {
		case <-wait:
		case <-ctx.Done():
			return choose(groups)
		}
	}
	if len(waits) > 0 {
		for i, p := range peers {
			groups[i] = d.peek(p)
		}
	}
	return choose(groups)
}

// look returns what is known of a peer and sees to it that it is asked when
// that is old; asking is open while it is.
func (d *delegates) look(p peer.ID) (addresses []address, asking chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, ok := d.known[p]
	if !ok {
		node = &nodeAddresses{}
		d.known[p] = node
	}
	fresh := delegatesFresh
	if len(node.addresses) == 0 {
		fresh = delegatesFailed
	}
	if node.asking == nil && (node.asked.IsZero() || d.now().Sub(node.asked) >= fresh) {
		asking := make(chan struct{})
		if d.tasks.start(func(ctx context.Context) { d.ask(ctx, p, asking) }) {
			node.asking, node.asked = asking, d.now()
		}
	}
	return node.addresses, node.asking
}

// peek returns what is known of a peer.
func (d *delegates) peek(p peer.ID) []address {
	d.mu.Lock()
	defer d.mu.Unlock()
	if node, ok := d.known[p]; ok {
		return node.addresses
	}
	return nil
}

// ask asks a peer for the addresses of its IPFS node.
func (d *delegates) ask(ctx context.Context, p peer.ID, asking chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	id, err := d.cluster.id(ctx, p)
	switch {
	case err != nil:
		log.Debugf("ask peer %s for the addresses of its IPFS node: %s", p, err)
	case id.IPFS.Error != "":
		log.Debugf("the IPFS node of peer %s is away: %s", p, id.IPFS.Error)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	node := d.known[p]
	node.asking = nil
	if err == nil {
		d.tell(node, id.IPFS)
	}
	close(asking)
}

// told enters addresses that were learnt on another occasion.
func (d *delegates) told(p peer.ID, node api.IPFSID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.known[p]; !ok {
		d.known[p] = &nodeAddresses{}
	}
	d.known[p].asked = d.now()
	d.tell(d.known[p], node)
}

// tell needs the lock.
func (d *delegates) tell(known *nodeAddresses, node api.IPFSID) {
	if addresses := usable(node); len(addresses) > 0 && !slices.Equal(addresses, known.addresses) {
		known.addresses = addresses
		d.places.forget()
	}
}

// usable are the addresses of a node that a client may dial, the best first
// and otherwise in the node's own order.
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

// classOf says who can dial an address.
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
