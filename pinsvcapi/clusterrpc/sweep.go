package clusterrpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// sweepStall is how long a sweep waits for the next pin. A peer reads all that
// its IPFS node has before it names the first.
const sweepStall = 5 * time.Minute

// errStalled ends a sweep of a peer that says nothing for too long.
var errStalled = errors.New("the peer stopped in the middle of its pins")

// sweeps are the questions to each peer about all its pins. They find what
// IPFS lost, and confirm what nobody has asked about.
type sweeps struct {
	progress progress
	wake     chan struct{}

	mu     sync.Mutex
	wanted map[peer.ID]struct{} // before their time
	swept  map[peer.ID]sweptPeer
}

type sweptPeer struct {
	ended time.Time
	took  time.Duration
	done  bool // the sweep came to its end
}

func newSweeps() *sweeps {
	return &sweeps{
		wake: make(chan struct{}, 1), wanted: make(map[peer.ID]struct{}), swept: make(map[peer.ID]sweptPeer),
	}
}

// soon asks for a sweep of a peer before its time.
func (s *sweeps) soon(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[p] = struct{}{}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// due reports whether it is time to sweep a peer. Sweeps that were asked for
// may take no larger share of a peer's time than rounds.
func (s *sweeps) due(p peer.ID, interval time.Duration, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.swept[p]
	_, wanted := s.wanted[p]
	since := now.Sub(last.ended)
	switch {
	case !ok:
		return true
	case wanted || !last.done:
		return since >= min(max(roundShare*last.took, time.Second), interval)
	default:
		return since >= interval
	}
}

func (s *sweeps) ended(p peer.ID, took time.Duration, done bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wanted, p)
	s.swept[p] = sweptPeer{ended: now, took: took, done: done}
}

// sweepLook is how often it is looked which peers are due, at least.
const sweepLook = 5 * time.Second

// sweepAll sweeps the members in turn, each when it is due, until the context
// ends.
func (b *Backend) sweepAll(ctx context.Context) {
	for ctx.Err() == nil {
		for _, p := range b.places.memberIDs() {
			if !b.sweeps.due(p, b.opts.SweepInterval, time.Now()) || !b.answers(ctx, p) {
				continue
			}
			if err := b.sweep(ctx, p); err != nil && ctx.Err() == nil {
				log.Infof("the pins of peer %s cannot be confirmed: %s", p, err)
			}
		}
		timer := time.NewTimer(min(sweepLook, b.opts.SweepInterval))
		select {
		case <-timer.C:
		case <-b.sweeps.wake:
			// Whoever asked is not in such a hurry that it may spin.
			sleep(ctx, 100*time.Millisecond)
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// answers reports whether a peer says at once what it is at work on, which it
// knows by heart. A sweep has patience with one that reads its pins, and one
// that is frozen would cost the others that.
func (b *Backend) answers(ctx context.Context, p peer.ID) bool {
	if p == b.self {
		return true
	}
	if b.away.is(p) {
		return false
	}
	call, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	err := b.cluster.trackerStatuses(call, p, api.TrackerStatusPinning, func(api.PinInfo) error { return nil })
	if err == nil {
		b.away.back(p)
		return true
	}
	if ctx.Err() == nil {
		log.Debugf("peer %s does not say what it is at work on: %s", p, err)
		b.away.did(p)
	}
	return false
}

// sweep asks one peer about all the pins that it should hold and enters each
// answer as it comes. This peer's sweep asks about sharded roots, too.
func (b *Backend) sweep(ctx context.Context, p peer.ID) error {
	began := time.Now()
	b.sweeps.progress.begin()
	call, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(sweepStall, func() { cancel(errStalled) })
	defer stalled.Stop()
	err := b.cluster.trackerStatuses(call, b.dest(p), fates, func(info api.PinInfo) error {
		stalled.Reset(sweepStall)
		b.ledger.heard(p, info.Cid.Cid, answerOf(info))
		b.sweeps.progress.step()
		return nil
	})
	b.sweeps.ended(p, time.Since(began), err == nil, time.Now())
	if err != nil {
		if errors.Is(context.Cause(call), errStalled) {
			err = errStalled
		}
		return err
	}
	b.away.back(p)
	if p == b.self {
		b.sweepRoots(ctx)
	}
	return nil
}

// sweepRoots asks about all sharded roots.
func (b *Backend) sweepRoots(ctx context.Context) {
	var roots []cid.Cid
	b.view.UpdateAll(func(text string, m *pinset.Mutable) bool {
		if b.places.kind(m.Placement) == placedInParts {
			if key, ok := keyOf(text); ok {
				roots = append(roots, key)
			}
		}
		return false
	})
	for _, key := range roots {
		if ctx.Err() != nil {
			return
		}
		b.askRoot(ctx, key)
	}
}
