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
// Lists come from a view of the pinset in memory, which follows the shared
// state by hints (see Hints and package watch), by what this peer writes, and
// by reading all of it from time to time. Statuses follow by asking each peer
// what it is at work on while anything is (rounds), about all its pins now and
// then (sweeps), and about single pins that clients look at. Without hints the
// view is right as well, but up to half a minute behind what others do.
//
// What a failure loses on its way: errors of other peers arrive as text, and
// causeOf is the one function that reads it. Clients are told of kinds and
// one sentence; the cause is for the log.
package clusterrpc

import (
	"context"
	"sync/atomic"
	"time"

	logging "github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

var log = logging.Logger("clusterrpc")

// Defaults of Options.
const (
	DefaultStatusTimeout     = 2 * time.Second
	DefaultStateTimeout      = 10 * time.Second
	DefaultListTimeout       = time.Minute
	DefaultFillWait          = 10 * time.Second
	DefaultWriteTimeout      = 30 * time.Second
	DefaultBatchAge          = 30 * time.Second
	DefaultReconcileInterval = 10 * time.Minute
	DefaultSweepInterval     = 30 * time.Minute
	DefaultRoundInterval     = time.Second
	DefaultRoundTimeout      = 10 * time.Second
	DefaultMaxPinAttempts    = 3
	DefaultRetryDelay        = 10 * time.Second

	// blindReconcileInterval is the most between two reads of the state by
	// a backend without hints.
	blindReconcileInterval = 30 * time.Second
)

// Options are the settings of a Backend. The zero value of each field stands
// for its default.
type Options struct {
	// Self is the ID of the peer that serves the client's local calls;
	// empty: client.ID(), which is right unless the client has no host.
	Self peer.ID
	// Hints tell of changes of the shared state: a watch.Tracker in the
	// place of the peer's pin tracker. Nil: changes that others make are
	// seen when the whole state is read, every 30 s at most.
	Hints Hints
	// Parts tell what the process knows of the peer's own parts. Nil: that
	// Raft has lost its leader is not noticed, and that the IPFS node went
	// away is within 5 s.
	Parts Parts
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// StatusTimeout (2 s) is how long a peer may take to report on a pin or
	// to tell its addresses. It is what an unreachable peer costs a request.
	StatusTimeout time.Duration
	// StateTimeout (10 s) is how long reading one record of the shared
	// state may take.
	StateTimeout time.Duration
	// ListTimeout (1 min) is how long a list may take that looks at every
	// pin.
	ListTimeout time.Duration
	// FillWait (10 s) is how long a list waits for the view to be filled.
	FillWait time.Duration
	// WriteTimeout (30 s) is how long the cluster may take to accept a
	// change. A change that was begun is not given up with its request.
	WriteTimeout time.Duration
	// BatchAge (30 s) is the age that the cluster lets a batch of changes
	// reach before it commits it. What the state does not show after twice
	// that time is submitted again.
	BatchAge time.Duration
	// ReconcileInterval (10 min) is how often the whole state is read, to
	// find changes that no hint told of.
	ReconcileInterval time.Duration
	// SweepInterval (30 min) is how often each peer is asked about all its
	// pins, to find what its IPFS node lost.
	SweepInterval time.Duration
	// RoundInterval (1 s) is the shortest time between two questions to a
	// peer about what it is at work on. It is at least 20 times what the
	// last one took.
	RoundInterval time.Duration
	// RoundTimeout (10 s) is how long a peer may take to answer it.
	RoundTimeout time.Duration
	// MaxPinAttempts (3) is how often a peer tries to pin before it has
	// given up.
	MaxPinAttempts int
	// RetryDelay (10 s) is the time from a failed try to the second; it
	// doubles with each further one, up to 5 min.
	RetryDelay time.Duration
}

func (o Options) withDefaults(client *rpc.Client) Options {
	if o.Self == "" {
		o.Self = client.ID()
	}
	if o.Parts == nil {
		o.Parts = unwatched{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	orDefault(&o.StatusTimeout, DefaultStatusTimeout)
	orDefault(&o.StateTimeout, DefaultStateTimeout)
	orDefault(&o.ListTimeout, DefaultListTimeout)
	orDefault(&o.FillWait, DefaultFillWait)
	orDefault(&o.WriteTimeout, DefaultWriteTimeout)
	orDefault(&o.BatchAge, DefaultBatchAge)
	orDefault(&o.ReconcileInterval, DefaultReconcileInterval)
	orDefault(&o.SweepInterval, DefaultSweepInterval)
	orDefault(&o.RoundInterval, DefaultRoundInterval)
	orDefault(&o.RoundTimeout, DefaultRoundTimeout)
	orDefault(&o.MaxPinAttempts, DefaultMaxPinAttempts)
	orDefault(&o.RetryDelay, DefaultRetryDelay)
	if o.Hints == nil {
		o.ReconcileInterval = min(o.ReconcileInterval, blindReconcileInterval)
	}
	return o
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Backend serves requests from a cluster. It has the methods of
// pinsvcapi.Backend, whose documentation holds. Use New and Close.
//
// Lists are answered from a view of the pinset in memory. The feed keeps it
// what the state is, rounds and sweeps keep the statuses in it what the peers
// say, and the mender has them try again.
type Backend struct {
	cluster cluster
	self    peer.ID
	opts    Options

	view      *pinset.View
	places    *places
	troubles  *troubles
	ledger    *ledger
	extras    *extras
	feed      *feed
	locks     *pinLocks
	creation  *creation
	pending   *pending
	away      *absences
	delegates *delegates
	rounds    *rounds
	sweeps    *sweeps
	mender    *mender
	restorer  *restorer
	condition *condition
	outage    *outage
	tasks     *tasks

	// stateAway says that the last look into the state failed.
	stateAway atomic.Bool
	// plainEverywhere says that the cluster pins everywhere what asks for
	// nothing else, so that there is nothing to allocate.
	plainEverywhere atomic.Bool
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
		view:      pinset.NewLoading(),
		places:    newPlaces(),
		troubles:  newTroubles(opts.Now, opts.RetryDelay),
		extras:    &extras{},
		locks:     newPinLocks(),
		creation:  &creation{now: opts.Now},
		pending:   newPending(opts.Now, 2*opts.BatchAge),
		away:      newAbsences(opts.Now),
		restorer:  newRestorer(opts.Now),
		condition: newCondition(),
		outage:    newOutage(opts.Now),
		tasks:     newTasks(),
	}
	b.ledger = &ledger{
		view: b.view, places: b.places, troubles: b.troubles, extras: b.extras, now: opts.Now,
		maxAttempts: opts.MaxPinAttempts, wiped: b.restorer.add,
	}
	b.feed = newFeed(b.ledger, b.pending, c, b.record)
	b.rounds, b.sweeps = newRounds(), newSweeps()
	b.mender = &mender{}
	b.delegates = &delegates{
		cluster: c, now: opts.Now, timeout: opts.StatusTimeout, tasks: b.tasks,
		known: make(map[peer.ID]*nodeAddresses),
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
// because half of it would be worse than all of it; it is given up when there
// is no consensus to be had.
func (b *Backend) writing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.opts.WriteTimeout)
	ctx, release := b.outage.bound(ctx)
	return ctx, func() {
		release()
		cancel()
	}
}
