package origins

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

// Kubo is the Swarm of a Kubo node, reached over its RPC.
//
// Upstream's connector has no request for it: ConnectSwarms knows only the
// nodes of other peers of the cluster.
type Kubo struct{ rpc *kuborpc.Client }

// NewKubo returns the swarm of the node whose RPC is called by a client.
func NewKubo(rpc *kuborpc.Client) *Kubo { return &Kubo{rpc} }

// errAddress is Kubo's refusal of an address that it does not understand.
var errAddress = errors.New("the IPFS node does not understand an address")

// Connect implements Swarm. All addresses go into one request, which Kubo
// dials in parallel.
func (k *Kubo) Connect(ctx context.Context, to peer.AddrInfo) error {
	addrs, err := peer.AddrInfoToP2pAddrs(&to)
	if err != nil {
		return err
	}
	err = k.connect(ctx, addrs)
	if len(addrs) == 1 || !errors.Is(err, errAddress) {
		return err
	}
	// Kubo refuses all for one that is newer than itself.
	var failures []error
	for _, addr := range addrs {
		err := k.connect(ctx, []multiaddr.Multiaddr{addr})
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// Close implements Swarm.
func (k *Kubo) Close() { k.rpc.Close() }

func (k *Kubo) connect(ctx context.Context, addrs []multiaddr.Multiaddr) error {
	return post(ctx, k, "swarm/connect", addrs, nil)
}

// Peers implements Swarm.
func (k *Kubo) Peers(ctx context.Context) ([]peer.ID, error) {
	var reply struct{ Peers []peer.AddrInfo }
	if err := post[peer.ID](ctx, k, "swarm/peering/ls", nil, &reply); err != nil {
		return nil, err
	}
	ids := make([]peer.ID, len(reply.Peers))
	for i, node := range reply.Peers {
		ids[i] = node.ID
	}
	return ids, nil
}

// AddPeers implements Swarm. Kubo gets no addresses: Connect gives it those.
func (k *Kubo) AddPeers(ctx context.Context, nodes []peer.ID) error {
	addrs := make([]multiaddr.Multiaddr, len(nodes))
	for i, id := range nodes {
		addr, err := multiaddr.NewComponent("p2p", id.String())
		if err != nil {
			return err
		}
		addrs[i] = addr.Multiaddr()
	}
	return post(ctx, k, "swarm/peering/add", addrs, nil)
}

// RemovePeers implements Swarm.
func (k *Kubo) RemovePeers(ctx context.Context, nodes []peer.ID) error {
	return post(ctx, k, "swarm/peering/rm", nodes, nil)
}

// post calls a command of the RPC. The reply is not decoded if it is nil.
func post[T fmt.Stringer](ctx context.Context, k *Kubo, command string, list []T, reply any) error {
	args := url.Values{}
	for _, arg := range list {
		args.Add("arg", arg.String())
	}
	err := k.rpc.Call(ctx, command, args, reply)
	stated, ok := errors.AsType[*kuborpc.Error](err)
	switch {
	case !ok:
		return err
	case strings.HasPrefix(stated.Message, "failed to parse multiaddr"): // go-multiaddr's words.
		return fmt.Errorf("%w: %s", errAddress, stated.Message)
	case strings.Contains(stated.Message, "dial to self attempted"):
		return nil // The origin is the IPFS node itself.
	default:
		return err
	}
}
