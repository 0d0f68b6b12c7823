package clusterrpc

import (
	"context"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
)

// Defaults of Options.
const (
	DefaultStatusTimeout      = 2 * time.Second
	DefaultStateTimeout       = 10 * time.Second
	DefaultListTimeout        = time.Minute
	DefaultFillWait           = 10 * time.Second
	DefaultWriteTimeout       = 30 * time.Second
	DefaultBatchAge           = 30 * time.Second
	DefaultResyncInterval     = 10 * time.Minute
	DefaultScanInterval       = 30 * time.Minute
	DefaultStatusMaxAge       = 10 * time.Second
	DefaultActivePollInterval = time.Second
	DefaultActivePollTimeout  = 10 * time.Second
	DefaultMaxPinAttempts     = 3
	DefaultRetryDelay         = 10 * time.Second
	DefaultReplicaAwayAfter   = 5 * time.Minute
	DefaultPingInterval       = 15 * time.Second

	// blindResyncInterval is the longest time between two reads of the state by a
	// backend without an EventSource.
	blindResyncInterval = 30 * time.Second
)

// Consensus is the part of an ipfscluster.Consensus that a write needs.
type Consensus = clusterapi.Consensus

// Options are the settings of a Backend. The zero value of each field stands for its
// default.
type Options struct {
	// Self is the ID of the peer that serves the client's local calls; empty:
	// client.ID(), which is right unless the client has no host.
	Self peer.ID
	// Events announce changes of the shared state: a watch.Tracker in the place of the
	// peer's pin tracker. If nil, changes that others make are seen when the whole
	// state is read, every 30 s at most.
	Events EventSource
	// ComponentHealth is what the process knows of the peer's own components. If nil,
	// loss of the Raft leader is not detected, and loss of the IPFS node is detected
	// within probeInterval and StatusTimeout: 3 s.
	ComponentHealth ComponentHealth
	// HealthDetails returns what an operator should attend to although requests can be
	// served, for GET /ready. It is called for each such request and returns from
	// memory; nil: there is nothing. Anybody may read the sentences.
	HealthDetails func() []string
	// Trusted reports whether the peer believes another one: pins that it does not know are
	// asked for only there. If nil, it believes all. It must not block.
	Trusted func(peer.ID) bool
	// Connected are the peers of the cluster that are connected now. They are asked for pins
	// as well as those whose ping is known, which is not yet so in the first seconds of a
	// peer. If nil, none are.
	Connected func() []peer.ID
	// Expected are the other peers that the configuration of this one names, or nil. Until
	// PingInterval after the start of the service they are taken to live, because there was no
	// time to hear of them: they are asked for pins as well, and no pin is unknown while one
	// of them does not answer.
	Expected []peer.ID
	// PingInterval (15 s) is the longest time between two signs of life of a peer: the
	// cluster's monitor_ping_interval.
	PingInterval time.Duration
	// Removed returns the records of a pin that this peer's state knows to be removed, also
	// from before it was started. Another peer that still has one of them is behind. If nil,
	// only removals that this process has seen are known.
	Removed func(ctx context.Context, key api.Cid) ([]api.Pin, error)
	// Past returns the records of a pin that came to this peer's state, among them such that
	// newer ones have superseded: a record that a client has read from another peer and that is
	// not among them has not arrived yet. If nil, the other peer is asked for its record.
	Past func(ctx context.Context, key api.Cid) ([]api.Pin, error)
	// Leader returns the peer whose state has all accepted changes, where the consensus has
	// one: pins that this peer does not know are asked for only there. If nil, all peers are
	// asked. Members of such a consensus stay members while they are away, so that of one that was
	// removed nothing counts.
	Leader func(context.Context) (peer.ID, error)
	// MaxWaitingReads (512) bounds the requests that wait for pins which this peer does not know,
	// those that change such a pin as well. Each user has half of them; more are refused at once.
	MaxWaitingReads int
	// Registerer gets the metrics; nil: there are none. See Metrics in docs/operations.md.
	Registerer prometheus.Registerer
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// StatusTimeout (2 s) bounds a request to a peer for a status or its addresses. It
	// is what an unreachable peer costs a request.
	StatusTimeout time.Duration
	// StateTimeout (10 s) bounds a read of one record of the shared state.
	StateTimeout time.Duration
	// ListTimeout (1 min) bounds a list that compares every pin.
	ListTimeout time.Duration
	// FillWait (10 s) is how long a list waits for the view to be filled.
	FillWait time.Duration
	// WriteTimeout (30 s) bounds a change of the cluster. A change that was begun does
	// not end with its request.
	WriteTimeout time.Duration
	// Consensus is the consensus component of the peer, whose methods must return when their
	// context ends. Single records are read and written by it. If nil, that goes by the client, which
	// takes longer.
	Consensus Consensus
	// WaitsForCommit reports whether the consensus of this peer returns from LogPin and
	// LogUnpin without an error only when its state has the change. If false, changes of
	// this peer are laid over the state until it shows them.
	WaitsForCommit bool
	// BatchAge (30 s) is the age that a batch of changes may reach before the cluster
	// commits it. Without WaitsForCommit, the state shows an accepted change within twice
	// that time as a rule.
	BatchAge time.Duration
	// ResyncInterval (10 min) is the time between two reads of the whole state, to find
	// changes that no event announced.
	ResyncInterval time.Duration
	// ScanInterval (30 min) is the time between two scans of all pins of a peer, to
	// find what its IPFS node lost.
	ScanInterval time.Duration
	// StatusMaxAge (10 s) is how old the confirmation of a pinned pin may be for Get to say
	// that it is pinned without asking the peers that hold it. Negative: they are always
	// asked.
	StatusMaxAge time.Duration
	// ActivePollInterval (1 s) is the shortest time between two polls of a peer for what
	// it is at work on. It is at least 20 times as long as the last one took.
	ActivePollInterval time.Duration
	// ActivePollTimeout (10 s) bounds such a poll.
	ActivePollTimeout time.Duration
	// MaxPinAttempts (3) is how many attempts a peer makes before it has failed.
	MaxPinAttempts int
	// RetryDelay (10 s) is the time from a failed attempt to the second; it doubles with
	// each further one, up to 5 min.
	RetryDelay time.Duration
	// ReplicaAwayAfter (5 min) is how long a peer may be unreachable until what it holds is
	// no replica any more. The status of its pins stays.
	ReplicaAwayAfter time.Duration
	// NewsTime (1 min) is how long it takes until all peers that can be reached have heard of a
	// write: before that no peer gives up a pin that was replaced and has failed. CompleteTime (3.5
	// min with the other defaults) is how long one that was replaced has to be complete until what it
	// has replaced itself is given up: as long as a removal by another peer may take to be heard of.
	NewsTime, CompleteTime time.Duration
	// PinTimeout is the peers' ipfs_connector.ipfshttp.pin_timeout, for the text of
	// failures; zero: it is not known.
	PinTimeout time.Duration
}

func (o Options) withDefaults(client *rpc.Client) Options {
	if o.Self == "" {
		o.Self = client.ID()
	}
	if o.ComponentHealth == nil {
		o.ComponentHealth = alwaysHealthy{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	orDefault(&o.PingInterval, DefaultPingInterval)
	orDefault(&o.StatusTimeout, DefaultStatusTimeout)
	orDefault(&o.StateTimeout, DefaultStateTimeout)
	orDefault(&o.ListTimeout, DefaultListTimeout)
	orDefault(&o.FillWait, DefaultFillWait)
	orDefault(&o.WriteTimeout, DefaultWriteTimeout)
	orDefault(&o.BatchAge, DefaultBatchAge)
	orDefault(&o.ResyncInterval, DefaultResyncInterval)
	orDefault(&o.ScanInterval, DefaultScanInterval)
	orDefault(&o.ActivePollInterval, DefaultActivePollInterval)
	orDefault(&o.ActivePollTimeout, DefaultActivePollTimeout)
	orDefault(&o.MaxPinAttempts, DefaultMaxPinAttempts)
	orDefault(&o.RetryDelay, DefaultRetryDelay)
	orDefault(&o.ReplicaAwayAfter, DefaultReplicaAwayAfter)
	if o.StatusMaxAge == 0 {
		o.StatusMaxAge = DefaultStatusMaxAge
	}
	if o.Events == nil {
		o.StatusMaxAge = -1 // The view does not follow the state.
		o.ResyncInterval = min(o.ResyncInterval, blindResyncInterval)
	}
	return o
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
