package clusterrpc

import (
	"context"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A peer that is frozen answers nothing and fails nothing.
var frozen = mustPeerID("12D3KooWGxxWn3G95xAEGAse1wQKk8XiLUCk3sLLvDuGC7tojW8R")

// What is to be tried again on a frozen peer costs one wait, not one for each
// pin: other work of the same beat is behind it.
func TestAFrozenPeerDoesNotHoldUpTheMender(t *testing.T) {
	s := newServices()
	var keys []cid.Cid
	for n := range 10 * mendWorkers {
		rec := s.held(n)
		rec.Allocations = []peer.ID{frozen}
		s.set(func() {
			s.pins[rec.Cid.Cid] = rec
			s.peers = []peer.ID{me, frozen}
			delete(s.answers, rec.Cid.Cid)
		})
		keys = append(keys, rec.Cid.Cid)
	}
	clock := &fakeClock{}
	b := s.backend(t, Options{StatusTimeout: 50 * time.Millisecond, Now: clock.now, RoundInterval: time.Hour, SweepInterval: time.Hour})
	b.away.back(frozen)
	release := s.hang("PinTracker.Recover")
	defer release()
	for _, key := range keys {
		b.ledger.heard(frozen, key, answer{status: api.TrackerStatusUnexpectedlyUnpinned})
	}
	clock.advance(time.Second)
	b.mend(t.Context()) // Each is left to the frozen peer itself, for a turn.
	clock.advance(2 * lostTurn)
	b.mend(t.Context())
	if n := s.called("PinTracker.Recover"); n == 0 || n > 2*mendWorkers {
		t.Errorf("a peer that does not answer was asked about %d of %d pins", n, len(keys))
	}
	if !b.away.now(frozen) {
		t.Error("the peer is taken to be there")
	}
}

// A sweep is patient. A frozen peer must not have the others wait for that.
func TestAFrozenPeerIsNotSwept(t *testing.T) {
	s := newServices()
	b := s.backend(t, Options{StatusTimeout: 50 * time.Millisecond, RoundInterval: time.Hour, SweepInterval: time.Hour})
	if !b.answers(t.Context(), frozen) {
		t.Fatal("a peer that answers is taken to be frozen")
	}
	release := s.hang("PinTracker.StatusAll")
	defer release()
	if b.answers(t.Context(), frozen) || !b.away.now(frozen) {
		t.Error("a frozen peer is to be swept")
	}
	if !b.answers(t.Context(), me) {
		t.Error("this peer is not to be swept")
	}
}

// However long a sweep took that failed, the next comes when it would have
// come anyway.
func TestASlowSweepThatFailedIsDueAfterTheInterval(t *testing.T) {
	s, now := newSweeps(), time.Unix(1000, 0)
	s.ended(frozen, sweepStall, false, now)
	if s.due(frozen, time.Minute, now.Add(59*time.Second)) || !s.due(frozen, time.Minute, now.Add(time.Minute)) {
		t.Error("it is not due after the interval")
	}
}

// It costs a request one wait, also when its addresses were never heard.
func TestNobodyWaitsForTheAddressesOfAFrozenPeer(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	rec.Allocations = []peer.ID{frozen}
	b := s.backend(t, Options{StatusTimeout: time.Minute, RoundInterval: time.Hour, SweepInterval: time.Hour})
	b.away.did(frozen)
	at := b.places.of(rec)
	release := s.hang("Cluster.ID")
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if ready := b.delegatesAt(ctx, at); ctx.Err() != nil || len(ready.list) == 0 {
		t.Errorf("delegates %v, %v", ready.list, ctx.Err())
	}
}
