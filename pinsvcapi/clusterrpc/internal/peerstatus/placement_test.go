package peerstatus

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

func TestPlacements_AreShared(t *testing.T) {
	s := newPlacements()
	a := allocatedTo(1, 3)
	b := allocatedTo(1, 3)
	b.Allocations = []peer.ID{b.Allocations[2], b.Allocations[0], b.Allocations[1]}
	if s.of(a) != s.of(b) {
		t.Error("the order of allocations makes a placement")
	}
	if s.of(a) == s.of(allocatedTo(2, 3)) || s.of(a) == s.of(onEveryPeer()) {
		t.Error("different placements are one")
	}
	for i := range 100 {
		rec := allocatedTo(1, 1)
		rec.Allocations = []peer.ID{peer.ID(fmt.Sprint(i % 3))}
		s.of(rec)
	}
	if n := len(s.placements); n != 6 {
		t.Errorf("%d placements", n)
	}
}

func TestPlacements_NumbersOfPeers(t *testing.T) {
	s := newPlacements()
	for i, p := range peerIDs(3) {
		if n := s.numberOf(p); n != i || s.numberOf(p) != n || s.id(n) != p {
			t.Errorf("peer %s has the number %d", p, n)
		}
	}
	if got := s.id(shardedPin); got != "" {
		t.Errorf("the shards of a pin are the peer %q", got)
	}
}

func TestPlacements_Observed(t *testing.T) {
	s := newPlacements()
	s.setMembers(peerIDs(3), time.Unix(1_800_000_000, 0))
	for _, rec := range []api.Pin{allocatedTo(1, 2), onEveryPeer()} {
		placement := s.of(rec)
		if s.observed(placement, 0) {
			t.Error("observed without any report")
		}
		if vector := s.withState(placement, 0, peerIDs(2)[1], Queued); !s.observed(placement, vector) {
			t.Error("a report is not observed")
		}
	}
	placement := s.of(allocatedTo(1, 1))
	if vector := s.withState(placement, 0, "stranger", Pinned); vector != 0 || s.observed(placement, vector) {
		t.Error("a peer that should not hold the pin is observed")
	}
}

// A summary that was cached must not outlive the members that it counts.
func TestPlacements_SummariesFollowTheMembers(t *testing.T) {
	s := newPlacements()
	now := time.Unix(1_800_000_000, 0)
	s.setMembers(peerIDs(2), now)
	placement := s.of(onEveryPeer())
	if got := s.summary(placement, 0); got.Holders != 2 || got != s.summary(placement, 0) {
		t.Errorf("%d holders of 2 members, or no cached summary", got.Holders)
	}
	s.setMembers(peerIDs(3), now)
	if got := s.summary(placement, 0).Holders; got != 3 {
		t.Errorf("%d holders of 3 members", got)
	}
}
