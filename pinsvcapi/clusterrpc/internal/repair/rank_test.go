package repair

import (
	"fmt"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func all(peer.ID) bool  { return false }
func none(peer.ID) bool { return true }

func testPeers(n int) (peers []peer.ID) {
	for i := range n {
		peers = append(peers, peer.ID(fmt.Sprint("peer ", i)))
	}
	return peers
}

// All peers agree on the order, and each pin has one of its own.
func TestRank_IsAnOrderOfThePeers(t *testing.T) {
	peers := testPeers(5)
	first := make(map[peer.ID]int)
	for n := range 500 {
		var ranks []int
		for _, p := range peers {
			rank := Rank(pinsvctest.RawCID(n), p, peers, all)
			if ranks = append(ranks, rank); rank == 0 {
				first[p]++
			}
		}
		if slices.Sort(ranks); !slices.Equal(ranks, []int{0, 1, 2, 3, 4}) {
			t.Fatalf("pin %d: ranks %v", n, ranks)
		}
	}
	for _, p := range peers {
		if first[p] < 50 || first[p] > 150 {
			t.Errorf("%s is the first for %d of 500 pins", p, first[p])
		}
	}
}

func TestRank_UnreachablePeersAreNotWaitedFor(t *testing.T) {
	peers, key := testPeers(5), pinsvctest.RawCID(1)
	var last peer.ID
	for _, p := range peers {
		if Rank(key, p, peers, all) == 4 {
			last = p
		}
	}
	if got := Rank(key, last, peers, none); got != 0 {
		t.Errorf("%d peers are waited for", got)
	}
	if got := Rank(key, "a stranger", peers, none); got != len(peers) {
		t.Errorf("a peer that does not hold the pin has rank %d", got)
	}
	if got := Rank(key, "alone", nil, all); got != 0 {
		t.Errorf("without peers the rank is %d", got)
	}
}
