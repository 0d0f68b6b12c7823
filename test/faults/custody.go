package faults

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// custody holds the nodes to what was reported as pinned: from then on at least
// one node has it pinned at each moment, until a client gives it up. After a
// replace that may be the old content or the new one, until the new one is
// reported as pinned. It is safe for concurrent use.
type custody struct {
	mu    sync.Mutex
	owed  map[string]*debt // by CID
	nodes []known
	lost  map[string]bool // what was told already
}

// debt is content that has to be somewhere.
type debt struct {
	since time.Duration
	any   []string // CIDs of which one suffices
}

// listing is what a node had pinned at some time between a question and its answer.
type listing struct {
	asked, answered time.Duration
	pins            map[string]bool
}

// known are the last listings of a node, the latest at the end. What two in a row lack was not
// there in between. One proves nothing: the nodes are not asked at one moment, and after a replace
// the content of one CID may come to one node just before that of the other leaves another.
type known []listing

func newCustody(nodes int) *custody {
	return &custody{owed: map[string]*debt{}, nodes: make([]known, nodes), lost: map[string]bool{}}
}

// confirmed: an answer that came at the time reports the CID as pinned.
func (c *custody) confirmed(cid string, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.owed[cid]; d != nil && len(d.any) == 1 {
		return
	}
	c.owed[cid] = &debt{since: at, any: []string{cid}}
}

// released: a request that gives up the CID is about to be sent.
func (c *custody) released(cid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.owed, cid)
	for key, d := range c.owed {
		// Content that is kept for a replace goes with any of its pins.
		if len(d.any) > 1 && slices.Contains(d.any, cid) {
			delete(c.owed, key)
		}
	}
}

// replaced: a request that replaces from by to is about to be sent.
func (c *custody) replaced(from, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, d := range c.owed {
		// It was replaced before, and added again, which ended what that replace kept it for: from
		// then on it is a pin as others, whose content goes when the one in its place is pinned.
		if key != from && len(d.any) > 1 && slices.Contains(d.any, from) && !slices.Contains(d.any, to) {
			d.any = append(d.any, to)
		}
	}
	d := c.owed[from]
	if d == nil {
		return
	}
	delete(c.owed, from)
	if c.owed[to] == nil || len(c.owed[to].any) > 1 {
		c.owed[to] = &debt{since: d.since, any: append(slices.Clone(d.any), to)}
	}
}

// wiped: the disk of the node is empty since the time.
func (c *custody) wiped(node int, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[node].add(listing{asked: at, answered: at})
}

// listed enters what a node has pinned, and returns what is missing from all nodes at some moment.
// Each loss is returned once.
func (c *custody) listed(node int, l listing) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[node].add(l)
	var missing []string
	for cid, d := range c.owed {
		if c.lost[cid] {
			continue
		}
		from, to, missed := c.missing(d)
		if !missed {
			continue
		}
		c.lost[cid] = true
		missing = append(missing, fmt.Sprintf("%s was reported as pinned at %.3fs, and from %.3fs to %.3fs no node had any of %v pinned",
			cid, d.since.Seconds(), from.Seconds(), to.Seconds(), d.any))
	}
	return missing
}

// missing is a time in which no node had the content.
func (c *custody) missing(d *debt) (from, to time.Duration, missed bool) {
	to = math.MaxInt64
	for _, n := range c.nodes {
		begin, end, lacks := n.lacks(d)
		if !lacks {
			return 0, 0, false
		}
		from, to = max(from, begin), min(to, end)
	}
	return from, to, from <= to
}

func (k *known) add(l listing) {
	const kept = 2
	*k = append(*k, l)
	*k = (*k)[max(0, len(*k)-kept):]
}

// lacks is a time since the content is owed in which the node did not have it.
func (k known) lacks(d *debt) (from, to time.Duration, lacks bool) {
	if len(k) < 2 {
		return 0, 0, false
	}
	for _, l := range k {
		if l.asked <= d.since || slices.ContainsFunc(d.any, func(cid string) bool { return l.pins[cid] }) {
			return 0, 0, false
		}
	}
	return k[0].answered, k[1].asked, true
}
