// Package orphans finds pins of the IPFS node that the cluster does not have, and
// removes those that are the peer's own.
//
// They come from faults of upstream. A pin that is cancelled by its removal may
// be completed by Kubo after the request to remove it (U40 in docs/upstream-faults.md).
// A removal that fails, because the IPFS node is away, is known to the memory of the
// pin tracker alone and not repeated (U41), also when other peers are to hold the pin
// (U98). Nothing of upstream looks for either: it walks only what the shared state has.
//
// A pin that the peer gave up itself is looked at again soon after, and removed: one that others are to
// hold when they say that they do, as this peer may have the only copy. What a
// scan of all recursive pins finds beside those is removed only if the node is managed,
// the pin has the name of the peer's pins, and the shared state knows that the pin was
// deleted, or other peers say that they hold it: absence alone is no reason, since the
// state may be incomplete. All other orphans are only told.
package orphans

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	logging "github.com/ipfs/go-log/v2"
)

var logger = logging.Logger("orphans")

const (
	// maxSuspects bounds the pins that are looked at one by one, and maxTold those that
	// are remembered. What has no room is found by a later scan.
	maxSuspects, maxTold = 100_000, 100_000
	// confirmDelay is how long a pin that a scan found has to be without a record
	// before it is an orphan: pins are made a moment before their record can be read.
	confirmDelay = 20 * time.Second
	// awayDelay is the time between two looks at a node that does not respond, and at
	// removals that fail.
	awayDelay = 5 * time.Second
	// keptDelay is the time between two questions whether those have a pin that are to hold it.
	keptDelay = 30 * time.Second
	// scanShare is the share of time that scans may take: one in so many.
	scanShare = 20
)

// checkDelays are the times after a pin was given up at which the node is asked whether
// it has the pin all the same.
func checkDelays() []time.Duration {
	return []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, time.Minute}
}

// Node is the IPFS node.
type Node interface {
	// Recursive calls each with every content that is pinned recursively.
	Recursive(ctx context.Context, each func(cid.Cid) error) error
	// Pinned reports whether content is pinned recursively, and the name of the pin.
	Pinned(ctx context.Context, key cid.Cid) (pinned bool, name string, err error)
}

// Config is what a Scanner needs.
type Config struct {
	Node Node
	// List calls each with every pin of the shared state that this peer is to hold. It may do so with
	// others, which are no orphans then.
	List func(ctx context.Context, each func(cid.Cid)) error
	// Wanted reports whether the shared state has a pin that this peer is to hold.
	Wanted func(ctx context.Context, key cid.Cid) (bool, error)
	// Moved reports whether the shared state has a pin that other peers are to hold.
	Moved func(ctx context.Context, key cid.Cid) (bool, error)
	// Gone reports whether it is known that a pin, which is not wanted, was deleted or is held by
	// other peers.
	Gone func(ctx context.Context, key cid.Cid) (bool, error)
	// Untrack has the pin tracker remove a pin unless it is wanted or the tracker is
	// pinning it. begun reports whether it does.
	Untrack func(ctx context.Context, key cid.Cid) (begun bool, err error)
	// Name is the name of the peer's own pins in its managed node; empty: the node is
	// not managed, or nothing may be removed from it.
	Name string
	// Interval is the time between two scans.
	Interval time.Duration
}

// Scanner looks for orphans. It is safe for concurrent use.
type Scanner struct {
	cfg    Config
	delays []time.Duration
	now    func() time.Time
	wake   chan struct{}
	// awayUntil is until when the node is left alone; for Run alone.
	awayUntil time.Time

	removed atomic.Uint64

	mu       sync.Mutex
	suspects map[cid.Cid]*suspect
	told     map[cid.Cid]struct{}
	excess   int // Orphans of the last scan that had no room in told.
}

// suspect is a pin to look at.
type suspect struct {
	due   time.Time
	since time.Time
	// givenUp: this peer removed or cancelled it; otherwise a scan found it.
	givenUp bool
	// failed: the last request to remove it failed.
	failed bool
	step   int // of checkDelays
	// renewed: it was given up again while it was looked at.
	renewed bool
}

// New returns a scanner, which works while Run runs.
func New(cfg Config) *Scanner {
	return &Scanner{
		cfg: cfg, delays: checkDelays(), now: time.Now, wake: make(chan struct{}, 1),
		suspects: make(map[cid.Cid]*suspect), told: make(map[cid.Cid]struct{}),
	}
}

// GivenUp notes that the peer has cancelled a pin, or has failed to remove it, so that
// the node may keep it. It returns at once.
func (s *Scanner) GivenUp(key cid.Cid, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	old, ok := s.suspects[key]
	switch {
	case ok && old.givenUp:
		old.due, old.step, old.renewed = now.Add(awayDelay), 0, true
		old.failed = old.failed || failed
		return
	case !ok && len(s.suspects) >= maxSuspects:
		return
	}
	s.suspects[key] = &suspect{since: now, due: now.Add(s.delays[0]), givenUp: true, failed: failed}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stats are what a Scanner found.
type Stats struct {
	// Orphans is how many pins the node has that are nobody's.
	Orphans int
	// Removed is how many were removed.
	Removed uint64
}

// Stats returns the present numbers.
func (s *Scanner) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Orphans: len(s.told) + s.excess, Removed: s.removed.Load()}
}

// Details returns what an operator should know, for GET /ready.
func (s *Scanner) Details() []string {
	if n := s.Stats().Orphans; n > 0 {
		return []string{fmt.Sprintf("orphan pins: recursive pins of the IPFS node that the cluster does not have: %d", n)}
	}
	return nil
}

// Run looks for orphans until ctx ends. It is called once, when the shared state is
// complete, as far as the peer can tell.
func (s *Scanner) Run(ctx context.Context) {
	nextScan := s.now()
	for {
		if now := s.now(); !now.Before(nextScan) {
			if err := s.scan(ctx); err != nil && ctx.Err() == nil {
				logger.Debugf("scan of the IPFS node's pins: %s", err)
				nextScan = s.now().Add(min(awayDelay, s.cfg.Interval))
			} else {
				ended := s.now()
				nextScan = ended.Add(max(s.cfg.Interval, scanShare*ended.Sub(now)))
			}
		}
		next := s.checkDue(ctx)
		if scan := nextScan.Sub(s.now()); scan < next {
			next = scan
		}
		timer := time.NewTimer(max(next, 0))
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// scan has all recursive pins of the node looked at that the state does not have. The
// state is listed once, into 8 bytes for each pin: to look up each pin of the node takes
// several times as long.
func (s *Scanner) scan(ctx context.Context) error {
	seed := maphash.MakeSeed()
	hash := func(key cid.Cid) uint64 { return maphash.String(seed, key.KeyString()) }
	var state []uint64
	if err := s.cfg.List(ctx, func(key cid.Cid) { state = append(state, hash(key)) }); err != nil {
		return fmt.Errorf("listing the shared state: %w", err)
	}
	slices.Sort(state)
	found, excess := make(map[cid.Cid]struct{}), 0
	err := s.cfg.Node.Recursive(ctx, func(key cid.Cid) error {
		// Two pins with one hash hide an orphan until the next scan, which has another seed.
		if _, has := slices.BinarySearch(state, hash(key)); has {
			return nil
		}
		if len(found) >= maxTold {
			excess++
		} else {
			found[key] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.excess = excess
	for key := range s.told {
		if _, ok := found[key]; !ok {
			delete(s.told, key)
		}
	}
	now := s.now()
	for key := range found {
		if _, ok := s.suspects[key]; !ok && len(s.suspects) < maxSuspects {
			s.suspects[key] = &suspect{since: now, due: now.Add(confirmDelay)}
		}
	}
	return nil
}
