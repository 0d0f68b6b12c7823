package peer

import (
	"context"
	"errors"
	"fmt"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/dual"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
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

// openNetwork listens on the cluster's addresses. A peer whose addresses are
// all loopback gets a host that stays on this machine; all others get
// upstream's.
//
// That a peer is private is derived and not a key of its own: nobody out
// there can reach a loopback address, so there is no port to map, no address
// to find out about and no relay that could help. A key could contradict the
// addresses, and upstream's programs would drop it when they save the file.
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

// LoopbackOnly tells whether all of the addresses are loopback ones, which is
// what makes a peer private.
func LoopbackOnly(addrs []ma.Multiaddr) bool {
	for _, addr := range addrs {
		if !manet.IsIPLoopback(addr) {
			return false
		}
	}
	return len(addrs) > 0
}

// openPrivateNetwork makes a host that other peers of the same cluster can
// talk to, and that asks nothing of the network around it: no NAT mapping, no
// relay, no hole punching, no AutoNAT, no public DHT.
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
		// Those that work within a private network; QUIC does not.
		libp2p.NoTransports,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(websocket.New),
		libp2p.ConnectionManager(conns),
		libp2p.ResourceManager(resources),
		libp2p.BandwidthReporter(n.bandwidth),
		libp2p.PrometheusRegisterer(observations.PromRegistry),
		libp2p.WithDialTimeout(cfg.DialPeerTimeout),
		libp2p.DisableRelay(),
		libp2p.ForceReachabilityPrivate(), // Nothing is to be asked of AutoNAT.
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

// announcedAddrs makes of the addresses that a host has those that it tells
// others: announce_multiaddress instead, if there is, without what is in
// no_announce_multiaddress, where an address may end in /ipcidr/<bits>.
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
// The cluster wants both halves of a dual DHT; the wide one, which admits
// public addresses only, stays empty and serves nobody.
func newPrivateDHT(ctx context.Context, h host.Host, store ds.Datastore) (*dual.DHT, error) {
	opts := []dual.Option{
		dual.WanDHTOption(dht.Mode(dht.ModeClient)),
		dual.LanDHTOption(
			dht.Mode(dht.ModeServer),
			dht.Concurrency(10),
			// By default the LAN half tells nobody of loopback addresses.
			dht.AddressFilter(func(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }),
		),
	}
	if batching, ok := store.(ds.Batching); ok {
		opts = append(opts, dual.DHTOption(dht.Datastore(namespace.Wrap(batching, ds.NewKey("dht")))))
	}
	return dual.New(ctx, h, opts...)
}

// close closes all that openNetwork opened, save what ends with its context.
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
