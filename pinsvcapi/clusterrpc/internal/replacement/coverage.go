package replacement

import (
	"math/big"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// coverage tells which pins keep one that is complete. Each name is followed once in each
// direction, however many pins are asked for: a chain may have thousands of pins with 64 names each.
type coverage struct {
	graph *graph
	// number has the complete pins that were met. The sets below are of these numbers.
	number map[cid.Cid]int
	// above has the complete pins from which names lead to a pin, below those to which they lead
	// from a pin, and the pin if it is one.
	above map[pinrecord.Replaced]*big.Int
	below map[cid.Cid]*big.Int
	// both is for a result that is not kept.
	both big.Int
	// steps is how many names were followed.
	steps int
}

func newCoverage(g *graph) coverage {
	return coverage{
		graph: g, number: make(map[cid.Cid]int),
		above: make(map[pinrecord.Replaced]*big.Int), below: make(map[cid.Cid]*big.Int),
	}
}

// covers reports whether a pin that names r keeps one that is complete and has replaced r, or is
// that one.
func (c *coverage) covers(r pinrecord.Replaced, namer cid.Cid) bool {
	return len(c.graph.complete) > 0 && c.both.And(c.aboveOf(r), c.belowOf(namer)).Sign() != 0
}

func (c *coverage) aboveOf(r pinrecord.Replaced) *big.Int {
	if set, ok := c.above[r]; ok {
		return set
	}
	set := new(big.Int)
	c.above[r] = set // Names lead in no circle; if they did, it would not be followed twice.
	for namer, there := range c.graph.namers[r] {
		c.steps++
		revision, hidden := c.graph.hidden[namer]
		if !there || !hidden {
			continue
		}
		set.Or(set, c.aboveOf(pinrecord.Replaced{Key: namer, Revision: revision}))
		c.enter(set, namer)
	}
	return set
}

func (c *coverage) belowOf(key cid.Cid) *big.Int {
	if set, ok := c.below[key]; ok {
		return set
	}
	set := new(big.Int)
	c.below[key] = set
	for _, n := range c.graph.named[key] {
		if c.steps++; n.orphaned.IsZero() && c.graph.live(n.Replaced) {
			set.Or(set, c.belowOf(n.Key))
		}
	}
	c.enter(set, key)
	return set
}

// enter adds a pin to a set if it is complete.
func (c *coverage) enter(set *big.Int, key cid.Cid) {
	if !c.graph.isComplete(key) {
		return
	}
	n, ok := c.number[key]
	if !ok {
		n = len(c.number)
		c.number[key] = n
	}
	set.SetBit(set, n, 1)
}
