// Package peer is one peer of the cluster as a library: the parts of IPFS
// Cluster, our Pinning Service API and a managed Kubo, wired from one
// configuration. It is a drop-in for `ipfs-cluster-service daemon`: the same
// files, lock, sections and environment variables mean the same.
//
// New takes the lock, opens the store and the host, has a managed Kubo started
// and binds the listeners; Start runs the rest; Stop undoes all of it in reverse order; Run is Start,
// waiting and Stop. Neither an IPFS node that is away nor a Raft cluster
// without a quorum stops a peer: it says what it waits for, and its API
// answers 503 meanwhile.
package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/cmdutils"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	"github.com/ipfs/go-datastore"
	logging "github.com/ipfs/go-log/v2"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"go.opencensus.io/tag"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/origins"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

var logger = logging.Logger("peer")

// Limits of the steps of Stop. That of the API is its own, shutdown_timeout,
// and this on top; the managed Kubo's is stop_timeout and this on top.
const (
	clusterStopLimit = time.Minute
	stopMargin       = 5 * time.Second
	closeLimit       = 15 * time.Second
)

// Peer is one peer. Its methods may be called by many goroutines at once.
type Peer struct {
	opts Options
	cfg  *Configuration

	// ctx is for what lives as long as the peer; it ends after the cluster
	// was shut down and before the host is closed.
	ctx    context.Context
	cancel context.CancelFunc
	report *reporter

	store   datastore.Datastore
	network *network
	apis    apis
	node    *kubo.Node
	tracer  ipfscluster.Tracer

	// Set by Start.
	consensus *consensus
	connector *connector
	origins   *origins.Connector
	tracker   *watch.Tracker
	monitor   *monitor
	cluster   *ipfscluster.Cluster

	ready, done chan struct{}
	background  sync.WaitGroup

	mu       sync.Mutex // Guards the teardown stack and those below.
	teardown teardown
	started  bool
	stopping bool
	ended    error // Why the peer ended by itself.

	stopOnce sync.Once
	stopped  chan struct{}
	stopErr  error
}

// New prepares a peer. What it opened it has closed again when it fails. The
// context bounds New alone.
func New(ctx context.Context, opts Options) (*Peer, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	p := &Peer{
		opts:    opts,
		cfg:     opts.Configuration,
		ready:   make(chan struct{}),
		done:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.report = newReporter(opts.Progress)
	p.teardown.push("progress", closeLimit, func(context.Context) error {
		p.cancel()
		p.report.close()
		return nil
	})
	for _, part := range []func() error{
		p.takeLock, p.load, p.openStore, p.openNetwork, p.observe, p.startIPFS, p.openListeners,
	} {
		err := ctx.Err()
		if err == nil {
			err = part()
		}
		if err != nil {
			return nil, errors.Join(err, p.teardown.unwind(context.Background()))
		}
	}
	return p, nil
}

func (p *Peer) takeLock() error {
	lock, err := Lock(p.cfg.Files)
	if err != nil {
		return err
	}
	p.pushClose("execution lock", lock)
	return nil
}

// load completes the configuration with what the options say, and refuses
// what could not work.
func (p *Peer) load() error {
	if !p.cfg.loaded {
		if err := p.cfg.Load(); err != nil {
			return err
		}
	}
	for _, key := range p.cfg.unknownAtStart() {
		logger.Warnf("%s: unknown key, ignored", key)
	}
	cfgs := p.cfg.Helper.Configs()
	consensus, _, err := p.cfg.Engines()
	if err != nil {
		return err
	}
	cfgs.Metrics.EnableStats = cfgs.Metrics.EnableStats || p.opts.Stats
	cfgs.Cluster.LeaveOnShutdown = cfgs.Cluster.LeaveOnShutdown || p.opts.Leave
	p.cfg.Helper.SetupTracing(p.opts.Tracing)
	p.cfg.Pinsvcapi.Tracing = cfgs.Tracing.EnableTracing // Upstream sets its own section's only.
	if consensus == cfgs.Crdt.ConfigKey() && !p.opts.NoTrust {
		cfgs.Crdt.TrustedPeers = append(cfgs.Crdt.TrustedPeers, ipfscluster.PeersFromMultiaddrs(p.opts.Bootstraps)...)
	}
	if display, err := p.cfg.Helper.Manager().ToDisplayJSON(); err == nil {
		logger.Debugf("configuration:\n%s", display)
	}
	return p.cfg.checkListeners()
}

func (p *Peer) openStore() error {
	p.report.enter(StageStore, nil)
	consensus, engine, err := p.cfg.Engines()
	if err != nil {
		return err
	}
	cfgs := p.cfg.Helper.Configs()
	if consensus == cfgs.Raft.ConfigKey() && len(p.opts.Bootstraps) > 0 {
		// It is to take over the state of those that it joins.
		if err := raft.CleanupRaft(cfgs.Raft); err != nil {
			return fmt.Errorf("removing the Raft state before joining: %w", err)
		}
	}
	states, err := cmdutils.NewStateManager(consensus, engine, p.cfg.Helper.Identity(), cfgs)
	if err != nil {
		return fmt.Errorf("consensus.%s: %w", consensus, err)
	}
	p.store, err = states.GetStore()
	if err != nil {
		return fmt.Errorf("opening the datastore (datastore.%s): %w", engine, err)
	}
	p.pushClose("datastore", p.store)
	return nil
}

func (p *Peer) openNetwork() error {
	p.report.enter(StageHost, nil)
	setProcessDefaults()
	ident := p.cfg.Helper.Identity()
	ctx, err := tag.New(p.ctx, tag.Upsert(observations.HostKey, ident.ID.String()))
	if err != nil {
		return fmt.Errorf("naming the peer in metrics: %w", err)
	}
	p.ctx = ctx
	p.network, err = openNetwork(p.ctx, ident, p.cfg.Helper.Configs().Cluster, p.store)
	if err != nil {
		return fmt.Errorf("opening the libp2p host on cluster.listen_multiaddress: %w", err)
	}
	p.teardown.push("libp2p host", closeLimit, func(context.Context) error {
		p.cancel() // Pubsub has no other end.
		return p.network.close()
	})
	return nil
}

// observe starts metrics and tracing.
func (p *Peer) observe() error {
	cfgs := p.cfg.Helper.Configs()
	if cfgs.Metrics.EnableStats {
		metrics, err := startMetrics(cfgs.Metrics)
		if err != nil {
			return fmt.Errorf("observations.metrics: %w", err)
		}
		p.teardown.push("metrics server", closeLimit, metrics.close)
	}
	tracer, err := observations.SetupTracing(cfgs.Tracing)
	if err != nil {
		return fmt.Errorf("observations.tracing: %w", err)
	}
	p.tracer = tracer // Works also when nil.
	p.teardown.push("tracer", closeLimit, tracer.Shutdown)
	return nil
}

func (p *Peer) pushClose(name string, c io.Closer) {
	p.teardown.push(name, closeLimit, func(context.Context) error { return c.Close() })
}

// setProcessDefaults lets upstream's cluster wait for its consensus for ever.
// When its wait is over it shuts down from a goroutine that the shutdown
// waits for, so that it neither works nor ends. Ours tries again instead.
// The variable is upstream's and read by running peers: it is set once.
var setProcessDefaults = sync.OnceFunc(func() { ipfscluster.ReadyTimeout = 100 * 365 * 24 * time.Hour })

// Ready is closed once the peer serves requests.
func (p *Peer) Ready() <-chan struct{} { return p.ready }

// Done is closed when the peer no longer works: it has stopped, or has ended
// by itself and is to be stopped, because the other peers removed it from the
// cluster.
func (p *Peer) Done() <-chan struct{} { return p.done }

// ID is the peer's identity.
func (p *Peer) ID() libp2ppeer.ID { return p.network.host.ID() }

// PinsvcAddrs are where the Pinning Service API is served, each host:port or
// the path of a socket, with the real ports; none when the configuration has
// no api.pinsvcapi.
func (p *Peer) PinsvcAddrs() []string { return p.apis.pinsvcAddrs() }

// IPFS is the managed Kubo, or nil when an external one is used.
func (p *Peer) IPFS() *kubo.Node { return p.node }

// Run starts the peer, waits until ctx ends or the peer ends by itself, and
// stops it. It returns nil when it ran and was stopped as asked.
func (p *Peer) Run(ctx context.Context) error {
	err := p.Start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-p.done:
		}
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // Stopped as asked, only sooner.
	}
	return errors.Join(err, p.Stop(context.Background()))
}

// Stop ends the peer: its HTTP servers drain, then the cluster, the IPFS node,
// the host, the store and the lock go, each within a limit. When ctx ends it
// hurries. Every call waits for that and returns the same: what could not be
// stopped, and why the peer had ended if it did by itself.
func (p *Peer) Stop(ctx context.Context) error {
	p.stopOnce.Do(func() {
		defer close(p.stopped)
		p.stopErr = p.stop(ctx)
	})
	<-p.stopped
	return p.stopErr
}
