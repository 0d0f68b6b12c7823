// Package clustertest runs real IPFS Cluster peers inside a test: the
// cluster's own state (CRDT), tracker, monitor, allocator and RPC over libp2p
// hosts on 127.0.0.1, without NAT mapping, mDNS, relay or DHT. Only IPFS is a
// stand-in (Node), so that a test decides what becomes of a pin.
//
// It must not be imported outside tests and benchmarks.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/allocator/balanced"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/informer/disk"
	"github.com/ipfs-cluster/ipfs-cluster/monitor/pubsubmon"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	"github.com/ipfs-cluster/ipfs-cluster/pintracker/stateless"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	routinghelpers "github.com/libp2p/go-libp2p-routing-helpers"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

// startTimeout is how long a peer or a cluster may take to be ready.
const startTimeout = 60 * time.Second

// Options describe a peer. The zero value is a peer that trusts everybody,
// pins everywhere and commits each change at once.
type Options struct {
	// Node is the peer's IPFS node; nil: NewNode().
	Node *Node
	// Join are peers to connect to.
	Join []*Peer
	// ReplicationMin and ReplicationMax are the cluster's defaults; zero
	// stands for -1, which is everywhere.
	ReplicationMin, ReplicationMax int
	// BatchAge, if positive, has changes committed in batches of that age.
	BatchAge time.Duration
	// Follower makes a peer that may not change the pinset.
	Follower bool
	// ConcurrentPins is how many pins the tracker works on; zero: 128.
	ConcurrentPins int
	// QueueSize is how many pins may wait; zero: the cluster's default.
	QueueSize int
	// Datastore keeps the state; nil: one in memory.
	Datastore datastore.Batching
	// Consensus makes the consensus; nil: upstream's CRDT. BatchAge is not for it.
	Consensus NewConsensus
	// UpstreamPolicy: other peers may call what ipfs-cluster-service allows, and not what our
	// daemon allows beside that.
	UpstreamPolicy bool
	// APIs are further API components that get the peer's RPC client.
	APIs []ipfscluster.API
	// OnTracker is called with the watched tracker before the peer gets it.
	OnTracker func(*watch.Tracker)
	// OnConsensus is called with the consensus component before the peer gets it.
	OnConsensus func(ipfscluster.Consensus)
}

// NewConsensus makes the consensus of a peer from what upstream's is made of.
type NewConsensus func(
	ctx context.Context, h host.Host, routes routing.Routing, topics *pubsub.PubSub, cfg *crdt.Config, store datastore.Batching,
) (ipfscluster.Consensus, error)

func upstreamCRDT(
	_ context.Context, h host.Host, routes routing.Routing, topics *pubsub.PubSub, cfg *crdt.Config, store datastore.Batching,
) (ipfscluster.Consensus, error) {
	return crdt.New(h, routes, topics, cfg, store)
}

// Peer is a running cluster peer.
type Peer struct {
	Cluster *ipfscluster.Cluster
	// Client is what the cluster gives to its API components.
	Client *rpc.Client
	Host   host.Host
	Node   *Node
	// Tracker and State let a test break what is behind the RPC services.
	Tracker *Tracker
	State   *State
	// Events announces the calls to the tracker.
	Events *watch.Tracker
	// Traffic counts what the host sends and receives.
	Traffic *Traffic

	dir    string
	cancel context.CancelFunc
	once   sync.Once
}

// New starts a peer. It does not wait until the peer is ready: see Ready.
func New(opts Options) (p *Peer, err error) {
	p = &Peer{Node: opts.Node, Traffic: newTraffic()}
	if p.Node == nil {
		p.Node = NewNode()
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.dir, err = os.MkdirTemp("", "clustertest"); err != nil {
		return nil, err
	}
	if p.Host, err = newHost(p.Traffic); err != nil {
		return nil, err
	}
	psub, err := pubsub.NewGossipSub(ctx, p.Host, pubsub.WithFloodPublish(true), pubsub.WithRawTracer(p.Traffic))
	if err != nil {
		return nil, err
	}
	components, err := newComponents(ctx, p, psub, opts)
	if err != nil {
		return nil, err
	}
	cfg, err := clusterConfig(p, opts)
	if err != nil {
		return nil, err
	}
	if opts.OnTracker != nil {
		opts.OnTracker(p.Events)
	}
	if opts.OnConsensus != nil {
		opts.OnConsensus(p.State)
	}
	receiver := &clientReceiver{}
	apis := append([]ipfscluster.API{receiver}, opts.APIs...)
	p.Cluster, err = ipfscluster.NewCluster(ctx, p.Host, nil, nil, cfg, components.store,
		p.State, apis, p.Node, p.Tracker, skewedMonitor{components.monitor, p.Tracker}, components.allocator,
		[]ipfscluster.Informer{components.informer}, (*observations.JaegerTracer)(nil))
	if err != nil {
		return nil, err
	}
	p.Client = receiver.client
	return p, nil
}

// newHost listens on loopback and does nothing of its own accord.
func newHost(traffic *Traffic) (host.Host, error) {
	return libp2p.New(
		libp2p.BandwidthReporter(traffic.bandwidth),
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.ResourceManager(nil),
	)
}

type components struct {
	store     datastore.Batching
	monitor   ipfscluster.PeerMonitor
	allocator ipfscluster.PinAllocator
	informer  ipfscluster.Informer
}

// newComponents makes the components of the cluster, and p.State and p.Tracker.
func newComponents(ctx context.Context, p *Peer, psub *pubsub.PubSub, opts Options) (components, error) {
	c := components{store: opts.Datastore}
	if c.store == nil {
		c.store = dssync.MutexWrap(datastore.NewMapDatastore())
	}
	crdtCfg := &crdt.Config{}
	if err := crdtCfg.Default(); err != nil {
		return c, err
	}
	crdtCfg.TrustAll = true
	crdtCfg.RebroadcastInterval = 2 * time.Second
	if opts.BatchAge > 0 {
		crdtCfg.Batching.MaxBatchAge = opts.BatchAge
		crdtCfg.Batching.MaxBatchSize = 1 << 20
	}
	newConsensus := opts.Consensus
	if newConsensus == nil {
		newConsensus = upstreamCRDT
	}
	consensus, err := newConsensus(ctx, p.Host, noRouting{}, psub, crdtCfg, c.store)
	if err != nil {
		return c, err
	}
	p.State = &State{Consensus: consensus, batchAge: opts.BatchAge}

	trackerCfg := &stateless.Config{}
	if err := trackerCfg.Default(); err != nil {
		return c, err
	}
	if trackerCfg.ConcurrentPins = opts.ConcurrentPins; opts.ConcurrentPins == 0 {
		trackerCfg.ConcurrentPins = 128
	}
	if opts.QueueSize > 0 {
		trackerCfg.MaxPinQueueSize = opts.QueueSize
	}
	p.Events = watch.NewTracker(stateless.New(trackerCfg, p.Host.ID(), "", consensus.State), p.Host.ID(), consensus.State)
	p.Tracker = newTracker(p.Events, p.Node)

	monitorCfg := &pubsubmon.Config{}
	allocatorCfg := &balanced.Config{}
	informerCfg := &disk.Config{}
	if err := errors.Join(monitorCfg.Default(), allocatorCfg.Default(), informerCfg.Default()); err != nil {
		return c, err
	}
	allocatorCfg.AllocateBy = []string{"freespace"}
	informerCfg.MetricTTL = 2 * pingInterval
	if c.monitor, err = pubsubmon.New(ctx, monitorCfg, psub, nil); err != nil {
		return c, err
	}
	if c.allocator, err = balanced.New(allocatorCfg); err != nil {
		return c, err
	}
	c.informer, err = disk.NewInformer(informerCfg)
	return c, err
}

// pingInterval is how often peers give a sign of life, which is valid for
// twice as long and metricGrace.
const pingInterval, metricGrace = time.Second, 4 * time.Second

func clusterConfig(p *Peer, opts Options) (*ipfscluster.Config, error) {
	cfg := &ipfscluster.Config{}
	if err := cfg.Default(); err != nil {
		return nil, err
	}
	cfg.SetBaseDir(p.dir)
	cfg.ListenAddr = p.Host.Addrs()
	cfg.MDNSInterval = 0
	cfg.MonitorPingInterval = pingInterval
	cfg.FollowerMode = opts.Follower
	if !opts.UpstreamPolicy {
		cfg.RPCPolicy = maps.Clone(cfg.RPCPolicy)
		cfg.RPCPolicy["Cluster.PinGet"] = ipfscluster.RPCTrusted
	}
	if opts.ReplicationMin != 0 {
		cfg.ReplicationFactorMin = opts.ReplicationMin
	}
	if opts.ReplicationMax != 0 {
		cfg.ReplicationFactorMax = opts.ReplicationMax
	}
	for _, other := range opts.Join {
		addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: other.Host.ID(), Addrs: other.Host.Addrs()})
		if err != nil {
			return nil, err
		}
		cfg.PeerAddresses = append(cfg.PeerAddresses, addrs...)
	}
	return cfg, nil
}

// ID is the peer's.
func (p *Peer) ID() peer.ID { return p.Host.ID() }

// Ready waits until the peer is.
func (p *Peer) Ready(ctx context.Context) error {
	select {
	case <-p.Cluster.Ready():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cluster peer %s is not ready: %w", p.ID(), ctx.Err())
	}
}

// Members waits until the peer counts n members and knows what space each of
// them has, so that it can allocate pins to them.
func (p *Peer) Members(ctx context.Context, n int) error {
	for {
		var members []peer.ID
		err := p.Client.CallContext(ctx, "", "Consensus", "Peers", struct{}{}, &members)
		if err == nil && len(members) == n && p.allocatable(ctx) == n {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("peer %s has %d members, want %d: %w", p.ID(), len(members), n, ctx.Err())
		}
	}
}

// allocatable is how many peers have reported their free space to this one.
func (p *Peer) allocatable(ctx context.Context) int {
	var metrics []api.Metric
	if err := p.Client.CallContext(ctx, "", "PeerMonitor", "LatestMetrics", "freespace", &metrics); err != nil {
		return 0
	}
	return len(metrics)
}

// Close stops the peer and its host. It may be called again.
func (p *Peer) Close() {
	p.once.Do(func() {
		// A cluster that waits for a frozen part would never stop.
		if p.Tracker != nil {
			p.Tracker.Thaw()
		}
		if p.Cluster != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = p.Cluster.Shutdown(ctx) // What is left of it ends with its context.
		}
		p.cancel()
		if p.Host != nil {
			_ = p.Host.Close()
		}
		_ = os.RemoveAll(p.dir)
	})
}

// Start runs n peers with the same options that know each other, waits until
// they do, and stops them with the test.
func Start(tb testing.TB, n int, opts Options) []*Peer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	var peers []*Peer
	for i := range n {
		each := opts
		each.Join = slices.Clone(peers)
		if i > 0 || opts.Node == nil {
			each.Node = NewNode()
		}
		p, err := New(each)
		if err != nil {
			tb.Fatalf("start cluster peer %d: %v", i, err)
		}
		tb.Cleanup(p.Close)
		peers = append(peers, p)
	}
	for _, p := range peers {
		if err := errors.Join(p.Ready(ctx), p.Members(ctx, n)); err != nil {
			tb.Fatal(err)
		}
	}
	return peers
}

// noRouting finds nothing and drops what it is to provide. Null would return an
// error, which the CRDT's provider logs for each of its blocks.
type noRouting struct{ routinghelpers.Null }

// Provide implements routing.ContentRouting.
func (noRouting) Provide(context.Context, cid.Cid, bool) error { return nil }

// clientReceiver is the API component that gets the RPC client.
type clientReceiver struct{ client *rpc.Client }

func (r *clientReceiver) SetClient(client *rpc.Client)   { r.client = client }
func (r *clientReceiver) Shutdown(context.Context) error { return nil }
