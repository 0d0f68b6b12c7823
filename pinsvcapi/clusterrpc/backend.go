// Package clusterrpc is the backend of the Pinning Service API over the RPC client that
// an IPFS Cluster peer gives to its API components. It translates between pins of the
// service and records of the cluster's shared state, and makes one status of what the
// peers that should hold a pin report.
//
// Its guarantees are decisions D1 to D7 of docs/decisions.md:
//
//   - the request ID is the text of the state key, and a CIDv0 and its CIDv1 name one
//     pin (D1); where another tool pinned both, each is found by its own form;
//   - the creation time is kept in the record and increases (D2);
//   - lists are ordered, and pages never cut a group of equal times (D3);
//   - the status counts only the peers that should hold a pin, and is "pinned" only for
//     content that they confirmed (D5);
//   - a pin that was replaced is gone for clients at once, and its content stays pinned
//     until the new pin is pinned (D6);
//   - all users share the pins; metadata keys that start with "pinsvc." are reserved (D7).
//
// This package has the operations and the wiring; the engine is in rooms of its own under
// internal, each with one job:
//
//	clusterapi   typed client of the cluster's RPC, its streams, the text of its errors
//	pinrecord    codec between api.Pin and pins of the service, creation clock
//	peerstatus   a pure reducer: records and reports in, one status for each pin out
//	statesync    the view equals the shared state; uncommitted writes of this peer
//	statewrite   the one write path: locks, mutations, outage, overdue writes
//	poll         polls peers: one pin, active pins, full scan; circuit breaker
//	replacement  which pins others have replaced
//	repair       retries, metadata that other tools removed, unpinning of what was replaced
//	delegates    addresses of the IPFS nodes
//	clockskew    how far the clocks of the peers differ
//	remoteread   pins that this peer does not know yet
//
// Errors of other peers arrive as text, and clusterapi.CauseOf is the one function that
// reads it. Responses have a kind and one sentence; the cause is for the log.
package clusterrpc

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clockskew"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/delegates"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/remoteread"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/repair"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/replacement"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statewrite"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

var log = logging.Logger("clusterrpc")

var _ pinsvc.Backend = (*Backend)(nil)

// Backend serves requests from a cluster: it is a pinsvc.Backend, whose documentation
// holds. Lists are read from a view of the pinset in memory. Use New and Close.
type Backend struct {
	opts    Options
	cluster clusterapi.Client

	view      *pinset.View
	tracker   *peerstatus.Tracker
	syncer    *statesync.Syncer
	writer    *statewrite.Writer
	poller    *poll.Poller
	retrier   *repair.Retrier
	metadata  *repair.Metadata
	index     *replacement.Index
	replaced  *repair.Replaced
	delegates *delegates.Directory
	cache     *delegates.Cache
	remote    *remoteread.Reader
	choices   choices
	clocks    *clockskew.Monitor
	clock     *pinrecord.Clock
	readiness *readiness
	tasks     *taskgroup.Group
	metrics   *metrics // nil without a registerer
	shortage  shortage
	// lastRuns are when the loops of loopNames last came to their end, by name.
	lastRuns sync.Map

	// pinsEverywhere: by default the cluster pins on every peer, so there is nothing
	// to allocate.
	pinsEverywhere atomic.Bool
}

// New starts a backend over the client that the cluster gives to its components. It does
// not wait for the peer: see Ready.
func New(client *rpc.Client, opts Options) *Backend {
	opts = opts.withDefaults(client)
	b := &Backend{
		opts: opts, cluster: clusterapi.New(client).Direct(opts.Consensus),
		view: pinset.NewLoading(), clock: pinrecord.NewClock(opts.Now),
		cache: delegates.NewCache(opts.Now), readiness: newReadiness(opts.Now),
		tasks: taskgroup.New(), metadata: repair.NewMetadata(),
	}
	b.tracker = peerstatus.NewTracker(peerstatus.Config{
		View: b.view, Now: opts.Now, Clock: b.clock, MaxAttempts: opts.MaxPinAttempts,
		RetryDelay: opts.RetryDelay, PinTimeout: opts.PinTimeout, OnMetadataLost: b.metadata.Lost,
		MembersStay: opts.Leader != nil,
	})
	removed := remoteread.NewRemoved()
	b.index = replacement.New(replacement.Config{
		Tracker: b.tracker, View: b.view, Now: opts.Now, OnLost: b.metadata.Lost, OnHidden: removed.Add,
	})
	b.syncer = statesync.New(statesync.Config{
		Reader: b.cluster, Sink: removalSink{b.index, b.view, removed}, Now: opts.Now, CommitTime: 2 * opts.BatchAge, WaitsForCommit: opts.WaitsForCommit,
		StateTimeout: opts.StateTimeout, ResyncInterval: opts.ResyncInterval,
	})
	b.writer = statewrite.New(statewrite.Config{
		Submitter: b.cluster, Syncer: b.syncer, Now: opts.Now, Timeout: opts.WriteTimeout, Consensus: b.consensusHealth,
	})
	b.poller = poll.New(poll.Config{
		Client: b.cluster, Tracker: b.tracker, View: b.view, Self: opts.Self, Now: opts.Now, Tasks: b.tasks,
		Read: b.read, StatusTimeout: opts.StatusTimeout, ActiveInterval: opts.ActivePollInterval,
		ActiveTimeout: opts.ActivePollTimeout, ScanInterval: opts.ScanInterval, MaxAttempts: opts.MaxPinAttempts, MaxAge: opts.StatusMaxAge,
	})
	b.retrier = repair.NewRetrier(repair.RetrierConfig{
		Client: b.cluster, Tracker: b.tracker, Breaker: b.poller.Breaker(), Self: opts.Self, Now: opts.Now,
		Timeout: opts.StatusTimeout, RetryDelay: opts.RetryDelay,
	})
	b.metadata.Configure(repair.MetadataConfig{
		View: b.view, Tracker: b.tracker, Index: b.index, Syncer: b.syncer, Writer: b.writer,
		Breaker: b.poller.Breaker(), Self: opts.Self, Now: opts.Now,
	})
	b.replaced = repair.NewReplaced(repair.ReplacedConfig{
		Index: b.index, Tracker: b.tracker, Syncer: b.syncer, Writer: b.writer, Poller: b.poller, Self: opts.Self, Now: opts.Now,
		NewsTime: opts.NewsTime, CompleteTime: opts.CompleteTime,
	})
	b.delegates = delegates.New(delegates.Config{
		Client: b.cluster, Now: opts.Now, Tasks: b.tasks, Timeout: opts.StatusTimeout, OnChange: b.cache.Purge,
	})
	b.clocks = clockskew.New(clockskew.Config{
		Client: b.cluster, Peers: b.otherPeers, Now: opts.Now, Timeout: opts.StatusTimeout,
	})
	b.remote = remoteread.New(remoteread.Config{
		Client: b.cluster, View: b.view, Known: b.known, Has: b.has, Look: b.look, Removed: removed, Hidden: b.index.Hidden,
		Self: opts.Self, Trusted: opts.Trusted, Connected: opts.Connected, Tasks: b.tasks,
		Buried: opts.Removed, Past: opts.Past, Leader: opts.Leader, MaxWaiting: opts.MaxWaitingReads,
		ClockBehind: b.clocks.Behind, Awaited: b.awaitedPeers,
	})
	b.registerMetrics()
	b.tasks.Go(b.run)
	return b
}

// Close ends what runs in the background and waits for it. It may be called again.
func (b *Backend) Close() {
	b.tasks.Close()
	b.unregisterMetrics()
}

// read is statesync.Syncer.Read for the poller, which does not know the syncer.
func (b *Backend) read(ctx context.Context, key api.Cid) (api.Pin, bool, error) {
	now, err := b.syncer.Read(ctx, key)
	return now.Rec, now.Found, err
}

// run reads the shared state into the view and keeps it true until the context ends.
func (b *Backend) run(ctx context.Context) {
	if b.opts.Events != nil {
		// Before the first read of the state, so that no change is missed.
		defer b.opts.Events.Subscribe(b.syncer.Notify)()
	}
	if !b.start(ctx) {
		return
	}
	var wg sync.WaitGroup
	for _, loop := range b.loops() {
		wg.Go(func() { loop(ctx) })
	}
	wg.Wait()
}
