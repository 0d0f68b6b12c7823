package faults

import (
	"math/rand/v2"
	"testing"
)

// Clients use no peer that is behind.
func TestClient_AnyPeer(t *testing.T) {
	w := &workload{nodes: []*node{{index: 0}, {index: 1}, {index: 2}}}
	c := &client{workload: w, rng: rand.New(rand.NewPCG(1, 1))}
	w.nodes[2].behind.Store(true)
	seen := map[int]int{}
	for range 100 {
		seen[c.anyPeer()]++
	}
	if len(seen) != 2 || seen[2] > 0 {
		t.Errorf("got %v", seen)
	}
}
