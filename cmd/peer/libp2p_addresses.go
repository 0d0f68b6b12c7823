package peer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/pstoremgr"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/atomicfile"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// addressInterval is how long a new address takes to be in the file at most.
const addressInterval = 2 * time.Second

// addressBook keeps the addresses of the cluster's peers in the file peerstore, for the next start, and
// lets the peers be dialled at any time. Upstream writes the file at an orderly stop only, forgets the
// addresses of a peer that is away for an hour, and truncates the file first (U108 in
// docs/upstream-faults.md). After a failed dial libp2p refuses another one for longer each time, up to
// 5 minutes, so that after a cut link has healed the cluster stayed cut for as long. The book is used
// by one goroutine.
type addressBook struct {
	host    host.Host
	path    string
	manager *pstoremgr.Manager

	domains []ma.Multiaddr // Those of the file that DNS resolves to peers.
	order   []libp2ppeer.ID
	addrs   map[libp2ppeer.ID][]ma.Multiaddr
	saved   []byte
}

// openAddressBook reads the file and tells the host what it says.
func openAddressBook(ctx context.Context, h host.Host, path string) *addressBook {
	b := &addressBook{
		host: h, path: path, manager: pstoremgr.New(ctx, h, path), addrs: make(map[libp2ppeer.ID][]ma.Multiaddr),
	}
	// It has an empty one for each that it cannot read.
	listed := slices.DeleteFunc(b.manager.LoadPeerstore(), func(addr ma.Multiaddr) bool { return len(addr) == 0 })
	for _, addr := range listed {
		if addr.Protocols()[0].Code == ma.P_DNSADDR {
			b.domains = append(b.domains, addr)
		}
	}
	_ = b.manager.ImportPeers(listed, false, peerstore.AddressTTL) // It has no error to return.
	for _, id := range ipfscluster.PeersFromMultiaddrs(listed) {
		if id != h.ID() {
			b.enter(id)
		}
	}
	b.saved = b.content()
	return b
}

// withoutPeerstore is the configuration of a cluster that leaves the file alone.
func withoutPeerstore(cfg *ipfscluster.Config) *ipfscluster.Config {
	own := *cfg
	own.BaseDir = "" // The path of the file is all that is made of it.
	return &own
}

// keep writes what changes until the context ends.
func (b *addressBook) keep(ctx context.Context) {
	var failed string
	for backoff.Sleep(ctx, addressInterval) {
		b.update()
		switch err := b.save(); {
		case err == nil:
			failed = ""
		case err.Error() != failed:
			failed = err.Error()
			logger.Warnf("the addresses of the cluster's peers are not saved: %s", err)
		}
	}
}

// update takes over the addresses of the peers that are connected, and keeps those of the others
// known to the host, so that they can be dialled whenever they come back.
func (b *addressBook) update() {
	for _, id := range b.host.Peerstore().PeersWithAddrs() {
		if id != b.host.ID() && b.addrs[id] == nil && spokeRPC(b.host, id) {
			b.enter(id)
		}
	}
	b.order = slices.DeleteFunc(b.order, func(id libp2ppeer.ID) bool {
		// Where the leader of Raft removed a peer, upstream clears its addresses.
		gone := len(b.host.Peerstore().Addrs(id)) == 0
		if gone {
			delete(b.addrs, id)
		}
		return gone
	})
	for _, id := range b.order {
		lasting := b.addrs[id]
		if b.host.Network().Connectedness(id) == libp2pnetwork.Connected {
			// What a name resolves to may change, the name does not.
			lasting = slices.DeleteFunc(slices.Clone(lasting), func(addr ma.Multiaddr) bool { return !isDNS(addr) })
		} else if dialler, ok := b.host.Network().(*swarm.Swarm); ok {
			dialler.Backoff().Clear(id) // Nobody is dialled here: whoever has something to send does that.
		}
		b.host.Peerstore().AddAddrs(id, lasting, peerstore.AddressTTL)
		b.enter(id)
	}
}

func isDNS(addr ma.Multiaddr) bool {
	switch addr.Protocols()[0].Code {
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6, ma.P_DNSADDR:
		return true
	default:
		return false
	}
}

// enter notes the addresses that the host knows of a peer, in the order of upstream.
func (b *addressBook) enter(id libp2ppeer.ID) {
	for _, info := range b.manager.PeerInfos([]libp2ppeer.ID{id}) {
		if b.addrs[id] == nil {
			b.order = append(b.order, id)
		}
		b.addrs[id] = info.Addrs
	}
}

// save writes the file if it has changed.
func (b *addressBook) save() error {
	content := b.content()
	if b.path == "" || bytes.Equal(content, b.saved) {
		return nil
	}
	if err := atomicfile.WriteFile(b.path, content, privateMode); err != nil {
		return err
	}
	b.saved = content
	return nil
}

func (b *addressBook) content() []byte {
	var content bytes.Buffer
	for _, addr := range b.domains {
		fmt.Fprintln(&content, addr)
	}
	for _, id := range b.order {
		for _, addr := range b.addrs[id] {
			fmt.Fprintf(&content, "%s/p2p/%s\n", addr, id)
		}
	}
	return content.Bytes()
}
