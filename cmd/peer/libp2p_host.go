package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	"github.com/ipfs-cluster/ipfs-cluster/version"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/dual"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	filter "github.com/whyrusleeping/multiaddr-filter"
)

// network is the libp2p side of a peer.
type network struct {
	host      host.Host
	bandwidth metrics.Reporter
	pubsub    *pubsub.PubSub
	dht       *dual.DHT
}

// clusterPeers are the peers that are connected now and speak the cluster's RPC. Trust is another
// question.
func (n *network) clusterPeers() []libp2ppeer.ID {
	return slices.DeleteFunc(n.host.Network().Peers(), func(id libp2ppeer.ID) bool { return !spokeRPC(n.host, id) })
}

// spokeRPC reports whether a peer has spoken the cluster's RPC. libp2p forgets that about a minute after
// the peer has gone.
func spokeRPC(h host.Host, id libp2ppeer.ID) bool {
	spoken, err := h.Peerstore().SupportsProtocols(id, version.RPCProtocol)
	return err == nil && len(spoken) > 0
}

// openNetwork listens on the cluster's addresses. A peer whose addresses are
// all loopback gets a private host, all others get upstream's.
//
// The addresses decide, not a key of the configuration: other machines cannot
// reach a loopback address, so port mapping, address discovery and relays are
// useless. A key could contradict the addresses, and upstream's programs would
// drop the key when they save the file.
func openNetwork(
	ctx context.Context, ident *clusterconfig.Identity, cfg *ipfscluster.Config, store ds.Datastore,
) (*network, error) {
	if LoopbackOnly(cfg.ListenAddr) {
		return openPrivateNetwork(ctx, ident, cfg, store)
	}
	h, bandwidth, ps, kad, err := ipfscluster.NewClusterHost(ctx, ident, cfg, store)
	if err != nil {
		return nil, err
	}
	return &network{host: h, bandwidth: bandwidth, pubsub: ps, dht: kad}, nil
}

// LoopbackOnly reports whether all of the addresses are loopback ones; such a
// peer is private.
func LoopbackOnly(addrs []ma.Multiaddr) bool {
	for _, addr := range addrs {
		if !manet.IsIPLoopback(addr) {
			return false
		}
	}
	return len(addrs) > 0
}

// openPrivateNetwork makes a host for peers of the same cluster that sends
// nothing to others: no NAT mapping, relay, hole punching, AutoNAT or public
// DHT. It is by hand because upstream's host always maps ports (U12 in
// docs/upstream-faults.md).
func openPrivateNetwork(
	ctx context.Context, ident *clusterconfig.Identity, cfg *ipfscluster.Config, store ds.Datastore,
) (*network, error) {
	conns, err := connmgr.NewConnManager(cfg.ConnMgr.LowWater, cfg.ConnMgr.HighWater,
		connmgr.WithGracePeriod(cfg.ConnMgr.GracePeriod))
	if err != nil {
		return nil, fmt.Errorf("cluster.connection_manager: %w", err)
	}
	resources, err := newResourceManager(cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cluster.resource_manager: %w", err), conns.Close())
	}
	announced, err := announcedAddrs(cfg)
	if err != nil {
		return nil, errors.Join(err, conns.Close(), resources.Close())
	}
	n := &network{bandwidth: metrics.NewBandwidthCounter()}
	opts := []libp2p.Option{
		libp2p.Identity(ident.PrivateKey),
		libp2p.PrivateNetwork(cfg.Secret),
		libp2p.ListenAddrs(cfg.ListenAddr...),
		libp2p.AddrsFactory(announced),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		// QUIC does not work within a private network.
		libp2p.NoTransports,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(websocket.New),
		libp2p.ConnectionManager(conns),
		libp2p.ResourceManager(resources),
		libp2p.BandwidthReporter(n.bandwidth),
		libp2p.PrometheusRegisterer(observations.PromRegistry),
		libp2p.WithDialTimeout(cfg.DialPeerTimeout),
		libp2p.DisableRelay(),
		libp2p.ForceReachabilityPrivate(), // No AutoNAT requests.
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.Routing(func(h host.Host) (routing.PeerRouting, error) {
			n.dht, err = newPrivateDHT(ctx, h, store)
			return n.dht, err
		}),
	}
	n.host, err = libp2p.New(opts...)
	if err != nil {
		return nil, errors.Join(err, conns.Close(), resources.Close())
	}
	n.pubsub, err = newPubSub(ctx, n.host, cfg)
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// announcedAddrs returns the filter from a host's addresses to the announced
// ones: announce_multiaddress replaces them, if set, and no_announce_multiaddress
// removes from them; an address there may end in /ipcidr/<bits>.
func announcedAddrs(cfg *ipfscluster.Config) (func([]ma.Multiaddr) []ma.Multiaddr, error) {
	ranges := ma.NewFilters()
	for _, addr := range cfg.NoAnnounceAddr {
		if _, err := addr.ValueForProtocol(ma.P_IPCIDR); err != nil {
			continue
		}
		mask, err := filter.NewMask(addr.String())
		if err != nil {
			return nil, fmt.Errorf("cluster.no_announce_multiaddress: %s: %w", addr, err)
		}
		ranges.AddFilter(*mask, ma.ActionDeny)
	}
	return func(addrs []ma.Multiaddr) []ma.Multiaddr {
		if len(cfg.AnnounceAddr) > 0 {
			addrs = cfg.AnnounceAddr
		}
		return ma.FilterAddrs(addrs, func(addr ma.Multiaddr) bool {
			return !ma.Contains(cfg.NoAnnounceAddr, addr) && !ranges.AddrBlocked(addr)
		})
	}, nil
}

// newPrivateDHT lets peers that listen on loopback addresses find each other.
// The cluster requires a dual DHT; its WAN half admits public addresses only
// and stays empty.
func newPrivateDHT(ctx context.Context, h host.Host, store ds.Datastore) (*dual.DHT, error) {
	opts := []dual.Option{
		dual.WanDHTOption(dht.Mode(dht.ModeClient)),
		dual.LanDHTOption(
			dht.Mode(dht.ModeServer),
			dht.Concurrency(10),
			// By default the LAN half does not pass loopback addresses on.
			dht.AddressFilter(func(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }),
		),
	}
	if batching, ok := store.(ds.Batching); ok {
		opts = append(opts, dual.DHTOption(dht.Datastore(namespace.Wrap(batching, ds.NewKey("dht")))))
	}
	return dual.New(ctx, h, opts...)
}

// close closes what openNetwork opened and what does not end with its context.
func (n *network) close() error {
	var errs []error
	if n.dht != nil {
		errs = append(errs, n.dht.Close())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	return errors.Join(errs...)
}
