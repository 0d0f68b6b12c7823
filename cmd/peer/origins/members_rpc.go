package origins

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"
)

const (
	// memberTimeout bounds a question, and membersAtOnce how many are asked at
	// the same time.
	memberTimeout, membersAtOnce = 5 * time.Second, 8
	// memberAddrs bounds the addresses of a member's node.
	memberAddrs = 32
)

// membersOf asks the members of the cluster with a client. The peer self is not
// one of them.
func membersOf(client *rpc.Client, self peer.ID) members {
	return func(ctx context.Context) (map[peer.ID]peer.AddrInfo, error) {
		var ids []peer.ID
		if err := client.CallContext(ctx, "", "Consensus", "Peers", struct{}{}, &ids); err != nil {
			return nil, fmt.Errorf("the members of the cluster: %w", err)
		}
		var (
			mu    sync.Mutex
			nodes = make(map[peer.ID]peer.AddrInfo, len(ids))
			group errgroup.Group
		)
		group.SetLimit(membersAtOnce)
		for _, member := range ids {
			if member == self {
				continue
			}
			group.Go(func() error {
				node := nodeOf(ctx, client, member)
				mu.Lock()
				defer mu.Unlock()
				nodes[member] = node
				return nil
			})
		}
		return nodes, group.Wait()
	}
}

// nodeOf returns the IPFS node of a member, without an ID if there is no reply.
func nodeOf(ctx context.Context, client *rpc.Client, member peer.ID) peer.AddrInfo {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	var id api.ID
	if err := client.CallContext(ctx, member, "Cluster", "ID", struct{}{}, &id); err != nil {
		logger.Debugf("the IPFS node of %s: %s", member, err)
		return peer.AddrInfo{}
	}
	if id.IPFS.Error != "" {
		return peer.AddrInfo{}
	}
	node := peer.AddrInfo{ID: id.IPFS.ID}
	for _, addr := range id.IPFS.Addresses {
		if transport, ok := ofNode(addr.Value(), node.ID); ok && len(node.Addrs) < memberAddrs {
			node.Addrs = append(node.Addrs, transport)
		}
	}
	return node
}

// ofNode returns an address without the peer ID at its end, unless it is that of
// another node.
func ofNode(addr multiaddr.Multiaddr, id peer.ID) (multiaddr.Multiaddr, bool) {
	if len(addr) == 0 {
		return nil, false
	}
	transport, owner := peer.SplitAddr(addr)
	return transport, len(transport) > 0 && (owner == "" || owner == id)
}
