package poll

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/progress"
)

const (
	// scanStall is how long a scan waits for the next pin. A peer reads all that its
	// IPFS node has before it reports the first.
	scanStall = 5 * time.Minute
	// scanCheck is the longest time between two checks of which peers are due, and
	// scanPause the shortest.
	scanCheck, scanPause = 5 * time.Second, 100 * time.Millisecond
	// scansAtOnce is how many peers are scanned at once: one that stops in the middle holds up no other.
	scansAtOnce = 4
)

// errStalled ends a scan of a peer that reports nothing for too long.
var errStalled = errors.New("the peer stopped in the middle of its pins")

// scans are the polls of each peer for all its pins. They find what IPFS lost, and
// confirm what nobody has requested.
type scans struct {
	now      func() time.Time
	crowd    func() int // as Poller.crowd
	progress progress.Counter
	wake     chan struct{}

	mu        sync.Mutex
	running   map[peer.ID]struct{} // by RunScans
	requested map[peer.ID]struct{} // before their time
	last      map[peer.ID]scanned
}

// scanned is the last scan of a peer.
type scanned struct {
	ended     time.Time
	took      time.Duration
	complete  bool
	completed time.Time // of the last complete one
}

func newScans(now func() time.Time) *scans {
	return &scans{
		now: now, crowd: func() int { return 1 }, wake: make(chan struct{}, 1), progress: progress.Counter{Now: now},
		running: make(map[peer.ID]struct{}), requested: make(map[peer.ID]struct{}), last: make(map[peer.ID]scanned),
	}
}

// RequestScan requests a scan of a peer before the scan is due.
func (p *Poller) RequestScan(id peer.ID) {
	p.scans.mu.Lock()
	defer p.scans.mu.Unlock()
	p.scans.requested[id] = struct{}{}
	select {
	case p.scans.wake <- struct{}{}:
	default:
	}
}

// ScanProgress describes how far the scan in progress is.
func (p *Poller) ScanProgress() string { return p.scans.progress.String() }

// due reports whether it is time to scan a peer. Scans that were requested may take no
// larger share of a peer's time than active polls.
func (s *scans) due(id peer.ID, interval time.Duration) bool {
	share := time.Duration(activeShare * s.crowd())
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.last[id]
	_, requested := s.requested[id]
	since := s.now().Sub(last.ended)
	switch {
	case !ok || since < 0: // The clock was set back.
		return true
	case requested || !last.complete:
		return since >= min(max(share*last.took, time.Second), interval)
	default:
		return since >= interval
	}
}

// begin reports whether it is time to scan a peer that is not being scanned, and notes that it is.
func (s *scans) begin(id peer.ID, interval time.Duration) bool {
	if !s.due(id, interval) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, running := s.running[id]
	s.running[id] = struct{}{}
	return !running
}

// end undoes begin.
func (s *scans) end(id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, id)
}

func (s *scans) ended(id peer.ID, began time.Time, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requested, id)
	now := s.now()
	last := scanned{ended: now, took: now.Sub(began), complete: complete, completed: s.last[id].completed}
	if complete {
		last.completed = now
	}
	s.last[id] = last
}

// took is how long the last complete scan of a peer took, if there was one.
func (s *scans) took(id peer.ID) (took time.Duration, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last[id]
	return last.took, last.complete
}

// completed is when the last complete scan of a peer ended.
func (s *scans) completed(id peer.ID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[id].completed
}

func (s *scans) peers() []peer.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]peer.ID, 0, len(s.last))
	for id := range s.last {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// RunScans scans the members, each when it is due, and probes those that did not respond, until the
// context ends.
func (p *Poller) RunScans(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { p.probeAlways(ctx) }) // A scan takes minutes where the IPFS node does not respond.
	places := make(chan struct{}, scansAtOnce)
	for ctx.Err() == nil {
		for _, id := range p.cfg.Tracker.Members() {
			if !p.scans.begin(id, p.cfg.ScanInterval) {
				continue
			}
			places <- struct{}{} // A scan ends with the context, too.
			running.Go(func() {
				defer func() { <-places }()
				defer p.scans.end(id)
				p.scanIfUp(ctx, id)
			})
		}
		timer := time.NewTimer(min(scanCheck, p.cfg.ScanInterval))
		select {
		case <-timer.C:
		case <-p.scans.wake:
			backoff.Sleep(ctx, scanPause)
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// scanIfUp scans a peer that responds.
func (p *Poller) scanIfUp(ctx context.Context, id peer.ID) {
	if !p.responds(ctx, id) {
		return
	}
	if err := p.Scan(ctx, id); err != nil && ctx.Err() == nil {
		log.Infof("scan of peer %s: %s", id, err)
	}
}

func (p *Poller) probeAlways(ctx context.Context) {
	for backoff.Sleep(ctx, min(scanCheck, p.cfg.ScanInterval)) {
		p.probeOpen(ctx)
	}
}

// probeOpen probes the members that did not respond, so that one that is back is noticed
// although no client requests what it holds.
func (p *Poller) probeOpen(ctx context.Context) {
	var g errgroup.Group
	for _, id := range p.cfg.Tracker.Members() {
		if p.breaker.Open(id) {
			g.Go(func() error {
				p.responds(ctx, id)
				return nil
			})
		}
	}
	_ = g.Wait() // None of them fails.
}

// responds reports whether a peer reports its active pins at once, which it does from
// memory. A scan waits for minutes for a peer that reads its pins, and a frozen peer
// would cost the others that time.
func (p *Poller) responds(ctx context.Context, id peer.ID) bool {
	if id == p.cfg.Self {
		return true
	}
	if !p.breaker.Allow(id) {
		return false
	}
	call, cancel := context.WithTimeout(ctx, p.cfg.StatusTimeout)
	defer cancel()
	err := p.cfg.Client.TrackerStatuses(call, id, api.TrackerStatusPinning, func(api.PinInfo) error { return nil })
	p.ended(ctx, id, err)
	if err != nil {
		log.Debugf("poll peer %s for its active pins: %s", id, err)
	}
	return err == nil
}

// Scan polls one peer for all the pins that it should hold and enters each report as it
// comes, but for those that are doubtful, about which it asks at the end. This peer's scan polls sharded roots, too.
func (p *Poller) Scan(ctx context.Context, id peer.ID) error {
	began := p.cfg.Now()
	p.scans.progress.Begin()
	call, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(scanStall, func() { cancel(errStalled) })
	defer stalled.Stop()
	var pinned []uint64
	doubts := &doubtful{began: began, reports: make(map[cid.Cid]peerstatus.Report)}
	err := p.cfg.Client.TrackerStatuses(call, p.destination(id), clusterapi.AllStatuses, func(info api.PinInfo) error {
		stalled.Reset(scanStall)
		if p.cfg.MaxAge > 0 && info.Status == api.TrackerStatusPinned {
			pinned = append(pinned, p.confirmed.hash(info.Cid.Cid))
		}
		p.enter(id, doubts, info.Cid.Cid, peerstatus.ReportOf(info))
		p.scans.progress.Step()
		return nil
	})
	p.scans.ended(id, began, err == nil)
	p.askAgain(ctx, id, doubts)
	if err != nil {
		if errors.Is(context.Cause(call), errStalled) {
			err = errStalled
		}
		return err
	}
	p.scanEnded(id, began, pinned)
	p.succeeded(id)
	p.replicas.search()
	if id == p.cfg.Self {
		p.confirmRoots(ctx)
	}
	return nil
}
