// Package poll polls peers for the statuses of pins: of one pin that a client requests (Record, Row, and Young at
// this peer), of all pins that a peer is at work on (Active), of the pinned pins that holders have yet to confirm
// (FollowReplicas), and of all pins of a peer (Scan; at the start, for this peer, ConfirmOwn). Reports go into a
// peerstatus.Tracker. A circuit breaker keeps peers that do not respond from costing every request a timeout.
package poll

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

var log = logging.Logger("clusterrpc")

// Client polls the trackers of peers: a clusterapi.Client.
type Client interface {
	TrackerStatus(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error)
	TrackerStatuses(ctx context.Context, p peer.ID, filter api.TrackerStatus, each func(api.PinInfo) error) error
	// NodePins are those of this peer's IPFS node.
	NodePins(ctx context.Context, each func(api.IPFSPinInfo) error) error
	// PinGet and Block read the shards of sharded pins.
	PinGet(ctx context.Context, key api.Cid) (api.Pin, error)
	Block(ctx context.Context, key api.Cid) ([]byte, error)
}

// Config is what a Poller needs. All fields are required.
type Config struct {
	Client  Client
	Tracker *peerstatus.Tracker
	View    *pinset.View
	Self    peer.ID
	Now     func() time.Time
	Tasks   *taskgroup.Group
	// Read returns the record of a pin with this peer's uncommitted writes.
	Read func(ctx context.Context, key api.Cid) (rec api.Pin, found bool, err error)
	// StatusTimeout bounds a request about one pin.
	StatusTimeout time.Duration
	// ActiveInterval is the shortest time between two active polls, and
	// ActiveTimeout bounds one of one peer.
	ActiveInterval, ActiveTimeout time.Duration
	// ScanInterval is the time between two scans of a peer.
	ScanInterval time.Duration
	// MaxAge is how old the confirmation of a pinned pin may be for the pin to be said to
	// be pinned without asking; 0: none is kept.
	MaxAge time.Duration
	// MaxAttempts is as in peerstatus.Config.
	MaxAttempts int
}

// Poller polls peers. It is safe for concurrent use.
type Poller struct {
	cfg     Config
	breaker *Breaker
	active  *activePolls
	scans   *scans
	// replicas are the pinned pins whose other holders are polled.
	replicas *replicaPolls
	stats    pollStats
	// recent are the confirmations of single pins, and looks the pins in flight that were
	// looked up in this peer's tracker.
	recent, looks *recent
	confirmed     *confirmations
}

// New returns a poller. It does nothing by itself before RunScans and FollowReplicas.
func New(cfg Config) *Poller {
	p := &Poller{
		cfg: cfg, breaker: NewBreaker(cfg.Now), active: newActivePolls(), scans: newScans(cfg.Now), replicas: newReplicaPolls(),
		recent: newRecent(cfg.Now), looks: newRecent(cfg.Now), confirmed: newConfirmations(),
		stats: pollStats{byPeer: make(map[peer.ID]PeerStats)},
	}
	p.scans.crowd = p.crowd
	return p
}

// Breaker is the circuit breaker of all calls to peers.
func (p *Poller) Breaker() *Breaker { return p.breaker }

// crowdSize is how many members may poll a peer for single pins, and scan it before the time, at their full pace.
const crowdSize = 10

// crowd is how many times more rarely this peer does so: all members poll the same peers, and what one of them
// has to answer must not grow with the cluster. Only of more pins than fit into quietDelays.Max at that pace, each is
// polled once in that time by each member.
func (p *Poller) crowd() int { return max(1, len(p.cfg.Tracker.Members())/crowdSize) }

// destination is where calls to a peer go.
func (p *Poller) destination(id peer.ID) peer.ID {
	if id == p.cfg.Self {
		return clusterapi.Local
	}
	return id
}

// ended enters the result of a call into the breaker and the statistics. This peer
// itself is never taken to be unreachable, whatever its tracker returns.
func (p *Poller) ended(ctx context.Context, id peer.ID, err error) {
	if err != nil && ctx.Err() != nil {
		return // The call was cancelled: no evidence about the peer.
	}
	p.stats.count(id, err, p.cfg.Now())
	switch {
	case err == nil:
		p.succeeded(id)
	case id != p.cfg.Self:
		p.breaker.Failure(id)
	}
}

// succeeded notes that a peer responded. One that did not before is polled anew.
func (p *Poller) succeeded(id peer.ID) {
	if p.breaker.Success(id) {
		p.active.recovered(id)
		p.replicas.recovered()
	}
}

// keyOf is the CID of a key of the view.
func keyOf(key string) (cid.Cid, bool) {
	c, err := cid.Cast([]byte(key))
	return c, err == nil
}

// PeerStats count the calls to one peer.
type PeerStats struct {
	Succeeded, Failed uint64
	// Open is the state of the circuit breaker.
	Open bool
	// Responded is when the peer last responded; zero: never.
	Responded time.Time
	// Scanned is when the last complete scan ended; zero: never.
	Scanned time.Time
}

// pollStats are the PeerStats without breaker and scans.
type pollStats struct {
	mu     sync.Mutex
	byPeer map[peer.ID]PeerStats
}

func (s *pollStats) count(id peer.ID, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.byPeer[id]
	if err != nil {
		stats.Failed++
	} else {
		stats.Succeeded++
		stats.Responded = now
	}
	s.byPeer[id] = stats
}

// QuietPins is the number of pins that are not polled for a while.
func (p *Poller) QuietPins() int { return p.active.quiet.Len() }

// Stats are the PeerStats of all members and peers that were called.
func (p *Poller) Stats() map[peer.ID]PeerStats {
	p.stats.mu.Lock()
	all := make(map[peer.ID]PeerStats, len(p.stats.byPeer))
	for id, stats := range p.stats.byPeer {
		all[id] = stats
	}
	p.stats.mu.Unlock()
	for _, id := range slices.Concat(p.cfg.Tracker.Members(), p.scans.peers()) {
		stats := all[id]
		stats.Open, stats.Scanned = p.breaker.Open(id), p.scans.completed(id)
		all[id] = stats
	}
	return all
}
