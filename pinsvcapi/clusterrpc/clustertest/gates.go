package clustertest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
)

// errCut is what the state returns while it is out of reach.
var errCut = errors.New("the state is out of reach of this test")

// State is a peer's consensus component that a test can break.
type State struct {
	ipfscluster.Consensus

	// batchAge is how old a batch of changes gets; zero without batches.
	batchAge time.Duration

	// changing is held by each change while it is given to the consensus, and
	// taken by Shutdown for good.
	changing sync.RWMutex
	stopping bool

	mu     sync.Mutex
	cut    bool
	held   bool
	reject error
}

// Cut takes the state out of reach until it is called with false.
func (s *State) Cut(cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cut
}

// HoldUpdates lets single records seem not to have arrived yet, until it is called with false.
func (s *State) HoldUpdates(hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = hold
}

// lateState has no single record.
type lateState struct{ state.ReadOnly }

func (lateState) Get(context.Context, api.Cid) (api.Pin, error) {
	return api.Pin{}, state.ErrNotFound
}

func (lateState) Has(context.Context, api.Cid) (bool, error) { return false, nil }

// RejectUnpins makes every removal fail with err; nil ends that.
func (s *State) RejectUnpins(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reject = err
}

func (s *State) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return errCut
	}
	return nil
}

func (s *State) rejection() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reject
}

// State implements ipfscluster.Consensus.
func (s *State) State(ctx context.Context) (state.ReadOnly, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	st, err := s.Consensus.State(ctx)
	if held && err == nil {
		st = lateState{st}
	}
	return st, err
}

// LogPin implements ipfscluster.Consensus.
func (s *State) LogPin(ctx context.Context, pin api.Pin) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.change(func() error { return s.Consensus.LogPin(ctx, pin) })
}

// change gives a change to the consensus unless the peer is being stopped.
func (s *State) change(write func() error) error {
	s.changing.RLock()
	defer s.changing.RUnlock()
	if s.stopping {
		return errStopping
	}
	return write()
}

// Shutdown implements ipfscluster.Component.
func (s *State) Shutdown(ctx context.Context) error {
	if s.batchAge > 0 {
		s.changing.Lock()
		s.stopping = true
		s.changing.Unlock()
		settle(ctx, s.Consensus, s.batchAge)
	}
	return s.Consensus.Shutdown(ctx)
}

// LogUnpin implements ipfscluster.Consensus.
func (s *State) LogUnpin(ctx context.Context, pin api.Pin) error {
	if err := errors.Join(s.failure(), s.rejection()); err != nil {
		return err
	}
	return s.change(func() error { return s.Consensus.LogUnpin(ctx, pin) })
}

// Tracker is a peer's pin tracker that a test can freeze, and whose reports
// about single pins it can set where the real ones cannot be arranged.
type Tracker struct {
	ipfscluster.PinTracker
	node *Node

	mu      sync.Mutex
	thawed  chan struct{} // closed unless frozen
	reports map[cid.Cid]api.TrackerStatus
	ahead   time.Duration
	broken  error
}

func newTracker(real ipfscluster.PinTracker, node *Node) *Tracker {
	t := &Tracker{PinTracker: real, node: node, thawed: make(chan struct{}), reports: make(map[cid.Cid]api.TrackerStatus)}
	close(t.thawed)
	return t
}

// Freeze lets every question wait until Thaw.
func (t *Tracker) Freeze() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.thawed = make(chan struct{})
}

// Thaw ends Freeze.
func (t *Tracker) Thaw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.thawed:
	default:
		close(t.thawed)
	}
}

// SetReport sets what the tracker reports for a pin; TrackerStatusUndefined leaves
// it to the real one again.
func (t *Tracker) SetReport(c cid.Cid, status api.TrackerStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if status == api.TrackerStatusUndefined {
		delete(t.reports, c)
		return
	}
	t.reports[c] = status
}

// SetClock makes the times that the peer tells to others those of a clock that is ahead by d:
// those in reports of its tracker, and until when its metrics are valid.
func (t *Tracker) SetClock(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ahead = d
}

// wait returns once the tracker is not frozen.
func (t *Tracker) wait(ctx context.Context) {
	t.mu.Lock()
	thawed := t.thawed
	t.mu.Unlock()
	select {
	case <-thawed:
	case <-ctx.Done():
	}
}

// workerWait is how long Track and Untrack wait for a worker under the race detector.
const workerWait = 100 * time.Millisecond

// Track implements ipfscluster.PinTracker. The cluster's tracker writes the
// new record into an operation that is queued or under way while a worker may
// be reading the old one, to hand it to the IPFS node. So that the race
// detector finds our faults and not that one, Track and Untrack then let the
// worker get to the node first.
func (t *Tracker) Track(ctx context.Context, pin api.Pin) error {
	t.awaitWorker(ctx, pin.Cid, func(s api.TrackerStatus) bool {
		return s&(api.TrackerStatusPinQueued|api.TrackerStatusPinning) != 0 && !t.node.pinning(pin.Cid.Cid)
	})
	return t.PinTracker.Track(ctx, pin)
}

// Untrack implements ipfscluster.PinTracker.
func (t *Tracker) Untrack(ctx context.Context, c api.Cid) error {
	t.awaitWorker(ctx, c, func(s api.TrackerStatus) bool {
		return s&(api.TrackerStatusUnpinQueued|api.TrackerStatusUnpinning) != 0
	})
	return t.PinTracker.Untrack(ctx, c)
}

// awaitWorker waits, for a while, until a worker reads no record.
func (t *Tracker) awaitWorker(ctx context.Context, c api.Cid, reads func(api.TrackerStatus) bool) {
	for end := time.Now().Add(workerWait); raceDetector && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !reads(t.PinTracker.Status(ctx, c).Status) {
			return
		}
	}
}

// Status implements ipfscluster.PinTracker.
func (t *Tracker) Status(ctx context.Context, c api.Cid) api.PinInfo {
	t.wait(ctx)
	info := t.PinTracker.Status(ctx, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if status, ok := t.reports[c.Cid]; ok {
		info.Status, info.Error = status, ""
	}
	info.TS = info.TS.Add(t.ahead)
	return info
}

// StatusAll implements ipfscluster.PinTracker. As the cluster's tracker does
// when it is unavailable, a frozen one reports nothing and does not end.
func (t *Tracker) StatusAll(ctx context.Context, filter api.TrackerStatus, out chan<- api.PinInfo) error {
	t.wait(ctx)
	t.mu.Lock()
	reports, broken := maps.Clone(t.reports), t.broken
	t.mu.Unlock()
	if len(reports) == 0 && broken == nil {
		return t.PinTracker.StatusAll(ctx, filter, out)
	}
	defer close(out)
	all := make(chan api.PinInfo)
	ended := make(chan error, 1)
	go func() { ended <- t.PinTracker.StatusAll(ctx, api.TrackerStatusUndefined, all) }()
	for info := range all {
		if status, ok := reports[info.Cid.Cid]; ok {
			info.Status, info.Error = status, ""
		}
		if filter != api.TrackerStatusUndefined && !info.Status.Match(filter) {
			continue
		}
		select {
		case out <- info:
		case <-ctx.Done():
		}
	}
	return errors.Join(<-ended, broken)
}

// BreakStreams makes StatusAll end with err after its last report; nil ends
// that.
func (t *Tracker) BreakStreams(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = err
}

// Recover implements ipfscluster.PinTracker.
func (t *Tracker) Recover(ctx context.Context, c api.Cid) (api.PinInfo, error) {
	t.wait(ctx)
	return t.PinTracker.Recover(ctx, c)
}

// skewedMonitor publishes metrics by the clock of the tracker. They are valid for metricGrace longer
// than the cluster has it: where tests share few cores, a living peer may be late by some seconds.
type skewedMonitor struct {
	ipfscluster.PeerMonitor
	tracker *Tracker
}

// PublishMetric implements ipfscluster.PeerMonitor.
func (m skewedMonitor) PublishMetric(ctx context.Context, metric api.Metric) error {
	m.tracker.mu.Lock()
	metric.Expire += int64(m.tracker.ahead + metricGrace)
	m.tracker.mu.Unlock()
	return m.PeerMonitor.PublishMetric(ctx, metric)
}
