// Package clockskew measures how far the clocks of the other peers are from that of this one.
// Signs of life and free space that peers publish carry the time at which they expire, by the
// clock of the sender: those of a peer whose clock is back have expired when they come, and
// the cluster misses the peer (U45 in docs/upstream-faults.md). Nobody but this says so.
//
// The clock of a peer is read from the report of its tracker on a CID that nobody pins, which
// has the time of the report; peers of ipfs-cluster-service answer it too.
package clockskew

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

var log = logging.Logger("clusterrpc")

const (
	// Tolerance is the largest skew that is of no interest.
	Tolerance = 5 * time.Second
	// forgetAfter is how old a measurement may be.
	forgetAfter = 5 * time.Minute
)

// Client asks trackers: a clusterapi.Client.
type Client interface {
	TrackerStatus(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error)
}

// Config is what a Monitor needs. All fields are required.
type Config struct {
	Client Client
	// Peers are the other peers.
	Peers func() []peer.ID
	Now   func() time.Time
	// Timeout bounds a measurement. The skew is wrong by half of the time that it took at
	// most.
	Timeout time.Duration
}

// Monitor measures clocks. It is safe for concurrent use.
type Monitor struct {
	cfg   Config
	probe api.Cid

	mu      sync.Mutex
	samples map[peer.ID]sample
	logged  map[peer.ID]time.Duration
}

type sample struct {
	skew time.Duration
	at   time.Time
}

// Skew is how far the clock of a peer is ahead of this peer's; negative: behind.
type Skew struct {
	Peer peer.ID
	By   time.Duration
}

// String is a sentence without an end.
func (s Skew) String() string {
	by, direction := s.By, "ahead of"
	if by < 0 {
		by, direction = -by, "behind"
	}
	return fmt.Sprintf("the clock of peer %s is %s %s that of this peer", s.Peer, by.Round(time.Second), direction)
}

// New returns a monitor, which measures nothing by itself.
func New(cfg Config) *Monitor {
	hash, err := multihash.Sum([]byte("pinsvc: what time is it?"), multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // The hash function is there.
	}
	return &Monitor{
		cfg: cfg, probe: api.NewCid(cid.NewCidV1(cid.Raw, hash)),
		samples: make(map[peer.ID]sample), logged: make(map[peer.ID]time.Duration),
	}
}

// Measure asks all peers for their time.
func (m *Monitor) Measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range m.cfg.Peers() {
		wg.Go(func() { m.measure(ctx, p) })
	}
	wg.Wait()
	m.log()
}

// measure asks one peer. A peer that does not answer keeps its last measurement for a while.
func (m *Monitor) measure(ctx context.Context, p peer.ID) {
	began := m.cfg.Now()
	info, err := m.cfg.Client.TrackerStatus(ctx, p, m.probe)
	ended := m.cfg.Now()
	if err != nil || info.TS.IsZero() || info.Status != api.TrackerStatusUnpinned {
		return
	}
	half := ended.Sub(began) / 2
	m.mu.Lock()
	defer m.mu.Unlock()
	// The peer's time has no monotonic reading, so this compares the clocks of the walls.
	m.samples[p] = sample{skew: info.TS.Sub(began.Add(half)), at: ended}
}

// Skews are the last measurements, by peer.
func (m *Monitor) Skews() map[peer.ID]time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	skews := make(map[peer.ID]time.Duration, len(m.samples))
	for p, s := range m.samples {
		if now.Sub(s.at).Abs() > forgetAfter {
			delete(m.samples, p)
			continue
		}
		skews[p] = s.skew
	}
	return skews
}

// Behind reports whether the clock of a peer is behind by more than Tolerance: its signs of life
// may have expired when they come.
func (m *Monitor) Behind(p peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.samples[p]
	return ok && s.skew < -Tolerance && m.cfg.Now().Sub(s.at).Abs() <= forgetAfter
}

// Wrong are the skews beyond Tolerance, by the ID of the peer.
func (m *Monitor) Wrong() []Skew {
	var wrong []Skew
	for p, by := range m.Skews() {
		if by.Abs() > Tolerance {
			wrong = append(wrong, Skew{p, by})
		}
	}
	slices.SortFunc(wrong, func(a, b Skew) int { return strings.Compare(string(a.Peer), string(b.Peer)) })
	return wrong
}

// Details are sentences for an operator, one for each peer whose clock differs.
func (m *Monitor) Details() (sentences []string) {
	for _, s := range m.Wrong() {
		sentences = append(sentences, s.String()+": set the clocks, or the peers take each other to be gone")
	}
	return sentences
}

// log logs the clocks that began or ceased to differ, or changed by more than Tolerance.
func (m *Monitor) log() {
	skews := m.Skews()
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, by := range skews {
		last, known := m.logged[p]
		wrong := by.Abs() > Tolerance
		switch {
		case wrong && (!known || (by-last).Abs() > Tolerance):
			m.logged[p] = by
			log.Warnf("%s: set the clocks, or the peers take each other to be gone", Skew{p, by})
		case !wrong && known:
			delete(m.logged, p)
			log.Infof("the clock of peer %s agrees with that of this peer again", p)
		}
	}
}
