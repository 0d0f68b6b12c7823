package peer

import (
	"errors"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/version"
	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// A peer that could not be reached is dialled again soon after it can be, and strangers are not.
func TestNetwork_FailedDialsOfClusterPeersAreForgotten(t *testing.T) {
	n, other := openTestNetwork(t), openTestNetwork(t)
	gone := peer.AddrInfo{ID: other.host.ID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/1")}}
	refused := func() bool {
		for range 2 { // The first dial fails at the address, or is refused.
			if err := n.host.Connect(libp2pnetwork.WithDialPeerTimeout(t.Context(), deadline), gone); errors.Is(err, swarm.ErrDialBackoff) {
				return true
			}
		}
		return false
	}
	if !refused() {
		t.Fatal("libp2p does not refuse to dial a peer that could not be reached")
	}
	n.forgetFailedDials()
	if err := n.host.Connect(t.Context(), gone); !errors.Is(err, swarm.ErrDialBackoff) {
		t.Errorf("a stranger is dialled: %v", err)
	}
	noError(t, n.host.Peerstore().AddProtocols(gone.ID, version.RPCProtocol))
	n.forgetFailedDials()
	if err := n.host.Connect(t.Context(), gone); err == nil || errors.Is(err, swarm.ErrDialBackoff) {
		t.Errorf("a peer of the cluster is not dialled: %v", err)
	}
}
