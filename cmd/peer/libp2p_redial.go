package peer

import (
	"context"
	"time"

	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/ipfs-cluster/ipfs-cluster/version"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// redialInterval is the longest time for which a peer of the cluster is not dialled after
// dialling it failed.
const redialInterval = 5 * time.Second

// redialAlways keeps libp2p from refusing to dial peers of the cluster for minutes, until the
// context ends. After each failed dial libp2p refuses another one for longer, up to 5 minutes,
// so that after a cut link has healed the cluster stayed cut for as long.
func (n *network) redialAlways(ctx context.Context) {
	for backoff.Sleep(ctx, redialInterval) {
		n.forgetFailedDials()
	}
}

// forgetFailedDials lets the peers that spoke the cluster's RPC and are not connected be dialled
// again. Nobody is dialled here: whoever has something to send does that.
func (n *network) forgetFailedDials() {
	dialler, ok := n.host.Network().(*swarm.Swarm)
	if !ok {
		return
	}
	for _, id := range n.host.Peerstore().PeersWithAddrs() {
		spoken, err := n.host.Peerstore().SupportsProtocols(id, version.RPCProtocol)
		if err == nil && len(spoken) > 0 && dialler.Connectedness(id) != libp2pnetwork.Connected {
			dialler.Backoff().Clear(id)
		}
	}
}
