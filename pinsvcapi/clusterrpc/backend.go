// Package clusterrpc is the backend of the Pinning Service API over the RPC
// client that an IPFS Cluster peer gives to its API components. It translates
// between pins of the service and records of the cluster's shared state, and
// makes one status of what the peers that should hold a pin report.
//
// What it guarantees is written as D1 to D7 in the project's design; the
// names are used in comments here:
//
//   - the request ID is the text of the state key, and a CIDv0 and its CIDv1
//     name one pin (D1); where another tool pinned both, each is found by its
//     own form;
//   - the creation time is kept in the record and increasing (D2);
//   - lists are ordered, and pages never cut a group of equal times (D3);
//   - the status counts the peers that should hold a pin and nobody else, and
//     "pinned" is said only of what they confirmed (D5);
//   - a replacement loses nothing when it fails (D6);
//   - all users share the pins; metadata keys that start with "pinsvc." are
//     not theirs (D7).
//
// What a failure loses on its way: errors of other peers arrive as text, and
// causeOf is the one function that reads it. Clients are told of kinds and
// one sentence; the cause is for the log.
package clusterrpc

import (
	"context"
	"time"

	logging "github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
)

var log = logging.Logger("clusterrpc")

// Defaults of Options.
const (
	DefaultStatusTimeout     = 2 * time.Second
	DefaultStateTimeout      = 10 * time.Second
	DefaultListTimeout       = time.Minute
	DefaultWriteTimeout      = 30 * time.Second
	DefaultPendingTimeout    = 10 * time.Minute
	DefaultReconcileInterval = 10 * time.Minute
	DefaultStatusWorkers     = 32
	DefaultRememberedAnswers = 100_000
)

// Options are the settings of a Backend. The zero value of each field stands
// for its default.
type Options struct {
	// Self is the ID of the peer that serves the client's local calls;
	// empty: client.ID(), which is right unless the client has no host.
	Self peer.ID
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// StatusTimeout (2 s) is how long a peer may take to report on a pin or
	// to tell its addresses. It is what an unreachable peer costs a request.
	StatusTimeout time.Duration
	// StateTimeout (10 s) is how long reading one record of the shared
	// state may take.
	StateTimeout time.Duration
	// ListTimeout (1 min) is how long a list may take.
	ListTimeout time.Duration
	// WriteTimeout (30 s) is how long the cluster may take to accept a
	// change. A change that was begun is not given up with its request.
	WriteTimeout time.Duration
	// PendingTimeout (10 min) is how long an accepted change is believed in
	// that the state does not show. It must exceed the age that the cluster
	// lets a batch of changes reach.
	PendingTimeout time.Duration
	// ReconcileInterval (10 min) is how often the whole state is read for
	// creation times that other peers have given out.
	ReconcileInterval time.Duration
	// StatusWorkers (32) is how many pins of one list are asked about at the
	// same time.
	StatusWorkers int
	// RememberedAnswers (100,000) bounds the peers' last answers that are
	// kept in memory, one for each pin and peer, about 200 bytes each.
	RememberedAnswers int
}

func (o Options) withDefaults(client *rpc.Client) Options {
	if o.Self == "" {
		o.Self = client.ID()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	orDefault(&o.StatusTimeout, DefaultStatusTimeout)
	orDefault(&o.StateTimeout, DefaultStateTimeout)
	orDefault(&o.ListTimeout, DefaultListTimeout)
	orDefault(&o.WriteTimeout, DefaultWriteTimeout)
	orDefault(&o.PendingTimeout, DefaultPendingTimeout)
	orDefault(&o.ReconcileInterval, DefaultReconcileInterval)
	orDefault(&o.StatusWorkers, DefaultStatusWorkers)
	orDefault(&o.RememberedAnswers, DefaultRememberedAnswers)
	return o
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Backend serves requests from a cluster. It has the methods of
// pinsvcapi.Backend, whose documentation holds. Use New and Close.
type Backend struct {
	cluster cluster
	self    peer.ID
	opts    Options

	locks     *pinLocks
	creation  *creation
	pending   *pending
	book      *book
	away      *absences
	missed    *missed
	delegates *delegates
	recovery  *recovery
	condition *condition
	tasks     *tasks
}

// New starts a backend over the client that the cluster gives to its
// components. It does not wait for the peer: see Ready.
func New(client *rpc.Client, opts Options) *Backend {
	opts = opts.withDefaults(client)
	c := cluster{client}
	b := &Backend{
		cluster:   c,
		self:      opts.Self,
		opts:      opts,
		locks:     newPinLocks(),
		creation:  &creation{now: opts.Now},
		pending:   newPending(opts.Now),
		book:      newBook(opts.Now, opts.RememberedAnswers),
		away:      newAbsences(opts.Now),
		missed:    newMissed(opts.Now),
		condition: newCondition(),
		tasks:     newTasks(),
	}
	b.delegates = &delegates{
		cluster: c, now: opts.Now, timeout: opts.StatusTimeout, tasks: b.tasks,
		known: make(map[peer.ID]*nodeAddresses),
	}
	b.recovery = &recovery{
		cluster: c, now: opts.Now, timeout: opts.StatusTimeout, tasks: b.tasks,
		slots: make(chan struct{}, maxRecoveries), asked: make(map[bookKey]time.Time),
	}
	b.tasks.start(b.watch)
	return b
}

// Close ends what runs in the background and waits for it. It may be called
// again.
func (b *Backend) Close() { b.tasks.close() }

// reading bounds one look into the shared state.
func (b *Backend) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.opts.StateTimeout)
}

// writing bounds one change. The change goes on when the client has gone,
// because half of it would be worse than all of it.
func (b *Backend) writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), b.opts.WriteTimeout)
}
