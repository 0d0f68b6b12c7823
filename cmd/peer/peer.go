// Package peer is one peer of the cluster as a library: the components of IPFS
// Cluster, our Pinning Service API and a managed Kubo, wired from one
// configuration. It is a drop-in for `ipfs-cluster-service daemon`: the same
// files, lock, sections and environment variables mean the same.
//
// New takes the lock, binds the Pinning Service API, opens the store and the host, starts a managed
// Kubo and binds the other listeners; Start runs the rest; Stop undoes all of it in reverse
// order; Run is Start, waiting and Stop. A full disk, an unreachable IPFS node or a Raft
// cluster without a quorum does not stop a peer: it reports what it waits for,
// and its API responds with 503 meanwhile.
//
// Several types here decorate upstream's components. Each works around a fault
// of upstream that docs/upstream-faults.md describes under the number (U1, U2,
// …) in the type's comment.
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

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/divergence"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/origins"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/orphans"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/pinning"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/tracking"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

var logger = logging.Logger("peer")

// Limits of the steps of Stop. That of the API is its own, shutdown_timeout,
// and this on top; the managed Kubo's is stop_timeout and this on top.
const (
	clusterStopLimit = 30 * time.Second
	stopMargin       = 5 * time.Second
	closeLimit       = 15 * time.Second
)

// Peer is one peer. Its methods may be called by many goroutines at once.
type Peer struct {
	opts Options
	cfg  *Configuration

	// ctx ends after the cluster was shut down and before the host is closed.
	ctx    context.Context
	cancel context.CancelFunc
	report *reporter

	store   datastore.Datastore
	network *network
	// addresses is set by Start.
	addresses *addressBook
	apis      apis
	node      *kubo.Node
	tracer    ipfscluster.Tracer
	metrics   *peerMetrics
	details   healthDetails
	// reloader is nil when the configuration has no api.pinsvcapi.
	reloader *reloader
	created  time.Time // When New began.

	// space watches the disk of the store, or reserved, if not nil, keeps some of it free.
	space    *storeSpace
	reserved *reservedStore

	// Set by Start.
	consensus *readyConsensus
	pinset    *digest.Store
	crdtStore *crdtstore.Store // nil with Raft.
	watcher   *divergence.Watcher
	// crdt is nil with Raft.
	crdt      *committedCRDT
	raft      *raftstate.Consensus // Within consensus; nil with CRDT.
	member    *memberConsensus     // Around consensus; nil with CRDT.
	connector *readyConnector
	pings     *pingTurns
	ipfsRPC   *kuborpc.Client
	pins      *pinning.Connector
	orphans   *orphans.Scanner
	origins   *origins.Connector
	// begins is within connector, in front of all others but that.
	begins  *tracking.Connector
	tracker *watch.Tracker
	// raftTracker is around tracker; nil with CRDT.
	raftTracker *raftstate.Tracker
	monitor     *runningMonitor
	cluster     *ipfscluster.Cluster

	ready, done chan struct{}
	background  sync.WaitGroup

	mu       sync.Mutex // Orders Start, Stop and readiness; guards the fields below.
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
		space:   &storeSpace{},
		created: time.Now(),
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
	for _, step := range []func() error{
		p.takeLock, p.load, p.nameInMetrics, p.openPinsvc, func() error { return p.openStore(ctx) },
		p.openNetwork, p.observe, p.startIPFS, p.openListeners,
	} {
		err := ctx.Err()
		if err == nil {
			err = step()
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

// load completes the configuration with the options and refuses what cannot
// work.
func (p *Peer) load() error {
	if !p.cfg.loaded {
		if err := p.cfg.Load(); err != nil {
			return err
		}
	}
	for _, key := range p.cfg.unknownAtStart() {
		logger.Warnf("%s: unknown key, ignored", key)
	}
	for _, sentence := range UnknownVariables() {
		logger.Warn(sentence)
	}
	cfgs := p.cfg.Helper.Configs()
	kind, _, err := p.cfg.Engines()
	if err != nil {
		return err
	}
	cfgs.Metrics.EnableStats = cfgs.Metrics.EnableStats || p.opts.Stats
	cfgs.Cluster.LeaveOnShutdown = cfgs.Cluster.LeaveOnShutdown || p.opts.Leave
	p.cfg.Helper.SetupTracing(p.opts.Tracing)
	p.cfg.Pinsvcapi.Tracing = cfgs.Tracing.EnableTracing // Upstream sets its own section's only.
	if p.opts.OwnsProcess && !cfgs.Tracing.EnableTracing {
		DisableTracing()
	}
	if kind == ConsensusCRDT && !p.opts.NoTrust {
		cfgs.Crdt.TrustedPeers = append(cfgs.Crdt.TrustedPeers, ipfscluster.PeersFromMultiaddrs(p.opts.Bootstraps)...)
	}
	if display, err := p.cfg.Helper.Manager().ToDisplayJSON(); err == nil {
		logger.Debugf("configuration:\n%s", display)
	}
	return p.cfg.checkListeners()
}

// nameInMetrics puts the ID of the peer into the context of all components.
func (p *Peer) nameInMetrics() error {
	ctx, err := tag.New(p.ctx, tag.Upsert(observations.HostKey, p.cfg.Helper.Identity().ID.String()))
	if err != nil {
		return fmt.Errorf("naming the peer in metrics: %w", err)
	}
	p.ctx = ctx
	return nil
}

func (p *Peer) openStore(ctx context.Context) error {
	p.report.enter(StageStore, p.space.detail)
	kind, engine, err := p.cfg.Engines()
	if err != nil {
		return err
	}
	cfgs := p.cfg.Helper.Configs()
	if kind == ConsensusRaft && len(p.opts.Bootstraps) > 0 {
		// The peer takes over the state of the peers that it joins.
		if err := raft.CleanupRaft(cfgs.Raft); err != nil {
			return fmt.Errorf("removing the Raft state before joining: %w", err)
		}
	}
	if engine == cfgs.Pebble.ConfigKey() {
		p.space.watch(cfgs.Pebble)
	}
	// Its Sync leaves keys and short values in the memory of the system (U5 in docs/upstream-faults.md).
	cfgs.Badger3.BadgerOptions.SyncWrites = true
	states, err := cmdutils.NewStateManager(string(kind), engine, p.cfg.Helper.Identity(), cfgs)
	if err != nil {
		return fmt.Errorf("consensus.%s: %w", kind, err)
	}
	folder, reserve := p.reserve(kind, engine)
	free := func() (uint64, bool) { return kubo.FreeSpace(folder) }
	err = p.space.await(ctx, folder, func() error { return checkReserve(free, reserve/2, errStoreFull) })
	if err == nil {
		p.store, err = p.space.open(ctx, states.GetStore)
	}
	if err != nil {
		return fmt.Errorf("opening the datastore (datastore.%s): %w", engine, err)
	}
	if reserve > 0 {
		if batching, ok := p.store.(datastore.Batching); ok {
			p.reserved = &reservedStore{Batching: batching, reserve: reserve, free: free}
			p.store = p.reserved
		}
	}
	p.details.add(fullDetails(p.storeFull, errStoreFull))
	p.pushClose("datastore", p.store)
	return nil
}

// reserve is the folder of the datastore, and how much is to be kept free there. Half of it must be
// free for a start, which writes what is in the log (U81 in docs/upstream-faults.md).
func (p *Peer) reserve(kind ConsensusKind, engine string) (folder string, bytes uint64) {
	cfgs := p.cfg.Helper.Configs()
	switch {
	case kind == ConsensusRaft: // Its state is in memory.
		return "", 0
	case engine == cfgs.LevelDB.ConfigKey():
		return cfgs.LevelDB.GetFolder(), storeReserve
	case engine == cfgs.Badger.ConfigKey():
		return cfgs.Badger.GetFolder(), badgerReserve
	case engine == cfgs.Badger3.ConfigKey():
		return cfgs.Badger3.GetFolder(), badger3Reserve
	default:
		return "", 0
	}
}

func (p *Peer) openNetwork() error {
	p.report.enter(StageHost, nil)
	setProcessDefaults()
	opened, err := openNetwork(p.ctx, p.cfg.Helper.Identity(), p.cfg.Helper.Configs().Cluster, p.store)
	if err != nil {
		return fmt.Errorf("opening the libp2p host on cluster.listen_multiaddress: %w", err)
	}
	p.network = opened
	p.teardown.push("libp2p host", closeLimit, func(context.Context) error {
		p.cancel() // Pubsub has no other end.
		return p.network.close()
	})
	return nil
}

// observe starts metrics and tracing.
func (p *Peer) observe() (err error) {
	cfgs := p.cfg.Helper.Configs()
	p.metrics, err = newPeerMetrics(observations.PromRegistry)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	p.teardown.push("metrics of the peer", closeLimit, func(context.Context) error {
		p.metrics.unregister()
		return nil
	})
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

// setProcessDefaults makes upstream's cluster wait for its consensus without a
// limit. When its limit is over it shuts down from a goroutine that the
// shutdown itself waits for, and deadlocks (U2 in docs/upstream-faults.md).
// The variable is upstream's and read by running peers, so it is set once.
var setProcessDefaults = sync.OnceFunc(func() { ipfscluster.ReadyTimeout = 100 * 365 * 24 * time.Hour })

// Ready is closed once the peer serves requests.
func (p *Peer) Ready() <-chan struct{} { return p.ready }

// Done is closed when the peer has stopped, or when it must be stopped because
// the other peers removed it from the cluster.
func (p *Peer) Done() <-chan struct{} { return p.done }

// ID is the peer's identity.
func (p *Peer) ID() libp2ppeer.ID { return p.network.host.ID() }

// PinsvcAddrs are the addresses of the Pinning Service API, each host:port or
// the path of a socket, with the real ports; none when the configuration has
// no api.pinsvcapi.
func (p *Peer) PinsvcAddrs() []string { return p.apis.pinsvcAddrs() }

// IPFS is the managed Kubo, or nil when an external one is used.
func (p *Peer) IPFS() *kubo.Node { return p.node }

// Run starts the peer, waits until ctx ends or the peer ends by itself, and
// stops it. It returns nil when it was stopped by ctx.
func (p *Peer) Run(ctx context.Context) error {
	err := p.Start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-p.done:
		}
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // Stopped by ctx before it had started.
	}
	return errors.Join(err, p.Stop(context.Background()))
}

// Stop ends the peer: its HTTP servers drain, then the cluster, the IPFS node,
// the host, the store and the lock are closed, each within a limit, which is
// short once ctx has ended. Every call waits for the end and returns the same
// error: what could not be stopped, and why the peer had ended by itself.
func (p *Peer) Stop(ctx context.Context) error {
	p.stopOnce.Do(func() {
		defer close(p.stopped)
		p.stopErr = p.stop(ctx)
	})
	<-p.stopped
	return p.stopErr
}
