package faults

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// custody holds the nodes to what was reported as pinned: from then on at least
// one node has it pinned at each moment, until a client gives it up. After a
// replace that may be the old content or the new one, until the new one is
// reported as pinned. It is safe for concurrent use.
type custody struct {
	mu   sync.Mutex
	owed map[string]*debt // by CID
	// listings are the last ones of the nodes, oldest knowledge first.
	listings []listing
	lost     map[string]bool // what was told already
}

// debt is content that has to be somewhere.
type debt struct {
	since time.Duration
	any   []string // CIDs of which one suffices
}

// listing is what a node had pinned when it was asked.
type listing struct {
	asked time.Duration
	known bool
	pins  map[string]bool
}

func newCustody(nodes int) *custody {
	return &custody{owed: map[string]*debt{}, listings: make([]listing, nodes), lost: map[string]bool{}}
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
	c.listings[node] = listing{asked: at, known: true}
}

// listed enters what a node, asked at the time, has pinned, and returns what is
// missing from all nodes now. Each loss is returned once.
func (c *custody) listed(node int, asked time.Duration, pins map[string]bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listings[node] = listing{asked: asked, known: true, pins: pins}
	var missing []string
	for cid, d := range c.owed {
		if c.held(d) || c.lost[cid] {
			continue
		}
		c.lost[cid] = true
		missing = append(missing, fmt.Sprintf("%s was reported as pinned at %.3fs, and no node has any of %v pinned; nodes were asked at %s",
			cid, d.since.Seconds(), d.any, c.asked()))
	}
	return missing
}

// held reports whether a node has the content, or may have it for all we know.
func (c *custody) held(d *debt) bool {
	for _, l := range c.listings {
		if !l.known || l.asked <= d.since {
			return true
		}
		for _, cid := range d.any {
			if l.pins[cid] {
				return true
			}
		}
	}
	return false
}

func (c *custody) asked() string {
	var times []string
	for _, l := range c.listings {
		times = append(times, fmt.Sprintf("%.3fs", l.asked.Seconds()))
	}
	return fmt.Sprint(times)
}
