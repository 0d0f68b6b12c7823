// Package divergence notices that two peers of a cluster have different pinsets, whatever
// the cause, tells it and repairs it.
//
// Each peer publishes the digest of its pinset (package digest) as a metric of the cluster.
// A digest that differs from another member's in a number of samples in a row is examined,
// whether the cluster is busy or not: the two peers compare the digests of buckets of rows,
// then rows. Rows that differ twice, a minute apart, and did not change at either peer in
// between, are a divergence. It is told, and repaired. Where the consensus is a CRDT:
//
//   - an element that has a tomb at either peer is dead at both;
//   - an element that one peer lacks is adopted with its block, and the DAG is repaired, as a
//     block must be missing;
//   - the value of a key is that of its elements.
//
// The direction comes from elements and tombs alone, never from values. Each peer repairs
// itself, from peers that it trusts and that are of the same cluster_name.
//
// Under Raft a follower takes rows over from the leader, which changes nothing itself, unless another
// peer has what the follower has, or cannot be asked.
package divergence

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/boundrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

var log = logging.Logger("divergence")

// DefaultInterval is the time between two samples.
const DefaultInterval = 15 * time.Second

const (
	// samples is how many samples in a row have to differ before they are examined.
	samples = 8
	// maxSamples bounds how rare examinations become that found nothing.
	maxSamples = 240
	// confirmAfter is how many intervals rows have to differ unchanged.
	confirmAfter = 4
	// maxRows bounds the rows of one examination, which takes some of the buckets.
	maxRows = 20_000
	// maxSuspects bounds the rows that one examination confirms and repairs.
	maxSuspects = 1000
	// maxExaminations bounds how many peers are examined at once: one that responds slowly holds up no other.
	maxExaminations = 2
	// expiredAfter is how many samples in a row have to be without the digest of a peer that had one before that is
	// told: a metric that comes late is missing in one.
	expiredAfter = 2
)

// Config is what a Watcher needs.
type Config struct {
	Host   host.Host
	Pinset *digest.Store
	// Elements are those of a CRDT, Replica is that of Raft; the other one is nil.
	Elements Elements
	Replica  Replica
	// Members are the peers of the cluster, this one among them.
	Members func(context.Context) ([]peer.ID, error)
	// LatestMetrics are the valid metrics of a name.
	LatestMetrics func(ctx context.Context, name string) []api.Metric
	// Trusted reports whether this peer takes changes from another.
	Trusted func(context.Context, peer.ID) bool
	// ClusterName is cluster.cluster_name, or what else decides which peers share a pinset.
	ClusterName string
	// Interval is the time between two samples; 0: DefaultInterval.
	Interval time.Duration
}

// Watcher compares this peer with the others. It is safe for concurrent use.
type Watcher struct {
	cfg       Config
	patience  patience
	client    *boundrpc.Client
	scan      chan struct{} // holds a token while the rows are read for another peer
	turns     chan struct{} // holds one for each examination
	examining sync.WaitGroup

	mu       sync.Mutex
	members  map[peer.ID]*member
	repaired uint64
}

// member is what is known of another peer.
type member struct {
	state    state
	since    time.Time
	differed int  // samples in a row
	needed   int  // samples until the next examination
	missing  int  // samples in a row without a digest
	busy     bool // it is being examined
	told     bool // the log has told of it, and not yet that its pinset is the same

	suspects []suspect
	asked    time.Time // when the suspects were found
	confirm  int       // samples until they are confirmed

	diverged int // pins that differed when they were last examined
}

// state is how another peer compares to this one.
type state int

const (
	unknown state = iota
	equal
	differing   // not examined yet, or nothing steady was found
	expired     // its digest has expired
	diverged    // rows differ for good
	catchingUp  // one of the two reads what it missed
	noDigest    // it publishes none
	otherName   // it is of another cluster_name
	untrusted   // this peer does not trust it
	distrustful // it does not trust this peer
	unreachable // it cannot be asked
)

// suspect is a row that differs.
type suspect struct {
	mine, theirs digest.Row
}

// New makes a watcher and serves its protocol at the host until Close.
func New(cfg Config) (*Watcher, error) {
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	w := &Watcher{
		cfg: cfg, patience: defaultPatience(), scan: make(chan struct{}, 1), turns: make(chan struct{}, maxExaminations),
		members: make(map[peer.ID]*member),
	}
	return w, w.serve()
}

// Run counts the pinset and compares it until the context ends.
func (w *Watcher) Run(ctx context.Context) {
	defer w.examining.Wait()
	for backoff.Sleep(ctx, w.cfg.Interval) {
		own, err := w.cfg.Pinset.Current()
		if err != nil {
			// At the start, and after a write that failed.
			if err := w.cfg.Pinset.Count(ctx); err != nil && ctx.Err() == nil {
				log.Warnf("%s", err)
			}
			continue
		}
		w.sample(ctx, own)
	}
}

// sample compares the digest with those of all members.
func (w *Watcher) sample(ctx context.Context, own digest.Digest) {
	members, err := w.cfg.Members(ctx)
	if err != nil {
		return
	}
	published := make(map[peer.ID]string)
	for _, m := range w.cfg.LatestMetrics(ctx, MetricName) {
		if !m.Discard() {
			published[m.Peer] = m.Value
		}
	}
	w.keep(members)
	for _, id := range members {
		if id == w.cfg.Host.ID() || w.isExamined(id) {
			continue
		}
		theirs, err := digest.Parse(published[id])
		switch {
		case err != nil:
			w.without(id)
		case theirs == own:
			w.enter(id, equal, 0)
		default:
			w.differs(ctx, id)
		}
	}
}

// keep forgets peers that are no members any more.
func (w *Watcher) keep(members []peer.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := make(map[peer.ID]*member, len(members))
	for _, id := range members {
		if id == w.cfg.Host.ID() {
			continue
		}
		if kept[id] = w.members[id]; kept[id] == nil {
			kept[id] = &member{needed: samples}
		}
	}
	w.members = kept
}

// without is a sample of a peer that has published no digest, or whose digest has expired. It is not taken as equal
// any more, and told when that is no metric that comes late.
func (w *Watcher) without(id peer.ID) {
	w.mu.Lock()
	m := w.members[id]
	m.differed, m.suspects = 0, nil
	m.missing++
	s := m.state
	switch {
	case m.missing >= samples:
		s = noDigest
	case s == equal || s == differing:
		s = expired
	}
	w.mu.Unlock()
	if s == noDigest || s == expired {
		w.enter(id, s, 0)
	}
}

// differs is a sample of a peer with another digest.
func (w *Watcher) differs(ctx context.Context, id peer.ID) {
	w.mu.Lock()
	m := w.members[id]
	m.missing = 0
	m.differed++
	confirm, examine := false, false
	if m.suspects != nil {
		m.confirm--
		confirm = m.confirm <= 0
	} else {
		examine = m.differed >= m.needed
	}
	untold := m.state == unknown || m.state == equal || m.state == expired || m.state == noDigest
	w.mu.Unlock()
	if untold {
		w.enter(id, differing, 0)
	}
	switch {
	case confirm:
		w.begin(ctx, id, m, w.confirm)
	case examine:
		w.begin(ctx, id, m, w.examine)
	}
}

// begin looks at a peer in the background. When others are being examined, one of the next samples does it.
func (w *Watcher) begin(ctx context.Context, id peer.ID, m *member, look func(context.Context, peer.ID, *member)) {
	select {
	case w.turns <- struct{}{}:
	default:
		return
	}
	w.setBusy(m, true)
	w.examining.Go(func() {
		defer func() { <-w.turns }()
		defer w.setBusy(m, false)
		ctx, cancel := context.WithTimeout(ctx, w.patience.all)
		defer cancel()
		look(ctx, id, m)
	})
}

func (w *Watcher) setBusy(m *member, busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.busy = busy
}

func (w *Watcher) isExamined(id peer.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.members[id].busy
}

// enter notes how a peer compares, and logs it when that is another state than before.
func (w *Watcher) enter(id peer.ID, s state, pins int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, ok := w.members[id]
	if !ok {
		return
	}
	before, pinsBefore := m.state, m.diverged
	if s != before {
		m.since = time.Now()
	}
	m.state, m.diverged = s, pins
	if s == equal {
		m.differed, m.needed, m.missing, m.suspects = 0, samples, 0, nil
	}
	if s == before && pins == pinsBefore {
		return
	}
	switch text := s.sentence(pins); {
	case s == equal && m.told:
		m.told = false
		log.Infof("peer %s has the same pinset as this peer", id)
	case text != "" && s != expired:
		m.told = true
		log.Warnf("peer %s: %s", id, text)
	}
}
