package watch

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

func TestCheckRemoval_LiveContentIsTrackedAgain(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		p.expect(t, "at once", "untrack")
		time.Sleep(time.Second)
		p.expect(t, "after a second", "untrack", "track")
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack", "track")
	})
}

// A hook may come before its removal is committed.
func TestCheckRemoval_ContentThatIsGoneInTheEndIsUnpinned(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		time.Sleep(time.Second)
		p.set(nil)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack", "track", "untrack")
	})
}

// The disk is slow for a minute, so that not even the last check can read the state.
func TestCheckRemoval_IsMadeAgainAfterAnError(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.fails = errors.New("slow disk")
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		time.Sleep(time.Minute)
		p.expect(t, "after a minute", "untrack")
		p.mu.Lock()
		p.fails = nil
		p.mu.Unlock()
		time.Sleep(time.Minute)
		p.expect(t, "in the end", "untrack", "track")
	})
}

// The tracker's queue is full for a minute, so that it takes up nothing, not even at the last check.
func TestCheckRemoval_WhatTheTrackerRefusedIsTriedAgain(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		p.refuse(errors.New("the queue is full"))
		time.Sleep(10 * time.Second)
		p.expect(t, "after the second check", "untrack", "track", "track")
		time.Sleep(40 * time.Second)
		p.expect(t, "after 50 seconds", "untrack", "track", "track", "track")
		p.refuse(nil)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack", "track", "track", "track", "track")
	})
}

// And so for content that is to be unpinned: otherwise it stays in the IPFS node.
func TestCheckRemoved_ARemovalThatTheTrackerRefusedIsTriedAgain(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		tracker.CheckRemoved(pin.Cid)
		p.refuse(errors.New("the queue is full"))
		time.Sleep(time.Second)
		p.expect(t, "after a second", "untrack")
		p.refuse(nil)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack", "untrack")
	})
}

// A removal that was not passed on, as the pin is being rewritten, is followed if the pin is gone.
func TestCheckRemoved_FollowsTheState(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.set(&pin)
		tracker.CheckRemoved(pin.Cid)
		time.Sleep(time.Second)
		p.expect(t, "while the pin is there")
		p.set(nil)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack")
	})
}

func TestCheckRemoval_RemovedContentStaysRemoved(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		_ = tracker.Untrack(t.Context(), pin.Cid)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack")
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		if len(tracker.removals) != 0 {
			t.Error("the removal is remembered for ever")
		}
	})
}

func TestCheckRemoval_ContentOfOtherPeersIsNotTracked(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		pin.ReplicationFactorMin, pin.ReplicationFactorMax = 1, 1
		pin.Allocations = []peer.ID{"other"}
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack")
	})
}

// The removals of many pins are checked as often as that of one, and are all forgotten.
func TestCheckRemoval_OfManyPins(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		const pins = 1000
		var want []string
		for i := range pins {
			hash, err := multihash.Sum([]byte{byte(i), byte(i >> 8)}, multihash.SHA2_256, -1)
			if err != nil {
				t.Fatal(err)
			}
			c := api.NewCid(cid.NewCidV1(cid.Raw, hash))
			_ = tracker.Untrack(t.Context(), c)
			want = append(want, "untrack")
			if i%3 == 0 { // Again, so that an earlier removal is no longer the pin's.
				time.Sleep(time.Millisecond)
				_ = tracker.Untrack(t.Context(), c)
				want = append(want, "untrack")
			}
		}
		p.set(&pin) // Whatever is read is wanted.
		time.Sleep(time.Second)
		p.set(nil)
		time.Sleep(time.Hour)
		for range pins { // Followed once in each direction.
			want = append(want, "track", "untrack")
		}
		p.mu.Lock()
		slices.Sort(p.calls)
		p.mu.Unlock()
		slices.Sort(want)
		p.expect(t, "in the end", want...)
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		if len(tracker.removals) != 0 || len(tracker.due) != 0 {
			t.Errorf("%d removals are remembered, %d are due", len(tracker.removals), len(tracker.due))
		}
	})
}
