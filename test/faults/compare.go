package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// row is what a peer says of a pin.
type row struct {
	Record
	CID, RequestID, Created string
	Status                  string
	// Replicas and Until are replicas and pinned_until of info.
	Replicas, Until string
	// Kept are the replaced pins whose content is kept until this one is pinned.
	Kept []string
}

// sight is what one peer says, and what its IPFS node has.
type sight struct {
	name string
	rows map[string]row
	// count is how many pins the peer's list says that there are.
	count int
	// allocations are the peers that should have a pin of the shared state, by CID; none: all peers.
	allocations map[string][]string
	pins        map[string]bool
	// twice tells of rows, and of pins of the shared state, of one content.
	twice []string
}

// keeps reports whether the content of a replaced pin may still be pinned: a pin that
// is not pinned says that it is kept for it.
func (s sight) keeps(cid string) bool {
	for _, row := range s.rows {
		if row.Status != "pinned" && slices.Contains(row.Kept, cid) {
			return true
		}
	}
	return false
}

// keptIn reads the CIDs from info.kept, which shows ten.
func keptIn(text string) []string {
	if text == "" {
		return nil
	}
	text, _, _ = strings.Cut(text, " and ")
	kept := strings.Split(text, ", ")
	for i, c := range kept {
		kept[i] = canonical(c)
	}
	return kept
}

// universe is what compare has to know of the content.
type universe struct {
	// written are the CIDs that clients may have written. Of these, nobody provides the dead, and the
	// expiring are pinned with an end.
	written, dead, expiring map[string]bool
	// copies is how many nodes should have a pin, enough how many make it pinned.
	copies, enough int
	// allocated: the shared state says which nodes these are. Else they are those of all peers.
	allocated bool
	// unseen is how many more peers a peer may count, which were not looked at.
	unseen int
	now    time.Time
}

// comparison is what compare works on.
type comparison struct {
	universe
	all   []sight
	found []Problem
}

func (c *comparison) add(i Invariant, format string, args ...any) {
	c.found = append(c.found, Problem{Invariant: i, Text: fmt.Sprintf(format, args...)})
}

// compare returns all in which the peers differ from each other and from their
// nodes, of everything that any peer lists and any node has pinned.
func compare(all []sight, u universe) []Problem {
	c := comparison{universe: u, all: all}
	for _, s := range all {
		for _, text := range s.twice {
			c.add(Agreement, "%s lists %s", s.name, text)
		}
		if s.count != len(s.rows) {
			c.add(Agreement, "%s counts %d pins and lists %d", s.name, s.count, len(s.rows))
		}
		if s.count != all[0].count {
			c.add(Agreement, "%s counts %d pins, %s %d", all[0].name, all[0].count, s.name, s.count)
		}
	}
	for _, cid := range union(all) {
		c.agree(cid)
		for _, s := range all {
			row, listed := s.rows[cid]
			c.state(s, cid, row, listed)
			c.content(s, cid, row, listed)
		}
	}
	return c.found
}

// union are the CIDs of all rows, of the shared state at each peer, and of all pins of the nodes.
func union(all []sight) []string {
	cids := map[string]bool{}
	for _, s := range all {
		for cid := range s.rows {
			cids[cid] = true
		}
		for cid := range s.allocations {
			cids[cid] = true
		}
		for cid := range s.pins {
			cids[cid] = true
		}
	}
	return slices.Sorted(maps.Keys(cids))
}

// agree compares what the peers say of a pin.
func (c *comparison) agree(cid string) {
	one := c.all[0]
	first, listed := one.rows[cid]
	for _, s := range c.all[1:] {
		other, ok := s.rows[cid]
		switch {
		case ok != listed:
			c.add(Agreement, "%s is listed at %s: %v, at %s: %v", cid, one.name, listed, s.name, ok)
		case ok && !first.sameRecord(other):
			c.add(Agreement, "%s is %+v at %s, %+v at %s", cid, first, one.name, other, s.name)
		case !slices.Equal(one.allocations[cid], s.allocations[cid]):
			c.add(Agreement, "%s is for %v at %s, for %v at %s", cid, one.allocations[cid], one.name, s.allocations[cid], s.name)
		}
	}
}

// removedWithin is how long after its end a pin may be there, and maxClockError how wrong a clock is at most by
// which an end was made.
const removedWithin, maxClockError = time.Minute, time.Hour + time.Minute

// state compares a row with the shared state of its peer, and with what clients wrote.
func (c *comparison) state(s sight, cid string, row row, listed bool) {
	allocations, there := s.allocations[cid]
	switch {
	case there && !listed && s.keeps(cid):
	case there != listed:
		c.add(Agreement, "%s is listed at %s: %v, in its state: %v", cid, s.name, listed, there)
	case listed && c.allocated && len(allocations) != c.copies:
		c.add(Recovery, "%s is for %v at %s, not for %d nodes", cid, allocations, s.name, c.copies)
	case listed && !c.allocated && len(allocations) > 0:
		c.add(OwnRecord, "%s is for %v at %s, not for all", cid, allocations, s.name)
	}
	if !listed {
		return
	}
	if !c.written[cid] {
		c.add(OwnRecord, "%s lists %s as %+v, which nobody wrote", s.name, cid, row)
	}
	if !c.expiring[cid] {
		if row.Until != "" {
			c.add(OwnRecord, "%s lists %s with an end at %s, which nobody asked for", s.name, cid, row.Until)
		}
		return
	}
	until, err := time.Parse(time.RFC3339, row.Until)
	switch {
	case err != nil:
		c.add(OwnRecord, "%s lists %s without the end that was asked for: %+v", s.name, cid, row)
	case until.After(c.now.Add(maxClockError)):
		c.add(OwnRecord, "%s lists %s with an end at %s, later than anybody asked for", s.name, cid, row.Until)
	case until.Before(c.now.Add(removedWithin)): // Later ones were made by a clock that was wrong.
		c.add(Recovery, "%s lists %s still, which ends at %s", s.name, cid, row.Until)
	}
}

// content compares what one peer says of a pin with the nodes.
func (c *comparison) content(s sight, cid string, row row, listed bool) {
	if !listed {
		if s.pins[cid] && !s.keeps(cid) {
			c.add(Strays, "%s has %s pinned, which is in no list", s.name, cid)
		}
		return
	}
	// Of the nodes that should have it.
	held, wanted, here := 0, 0, false
	for _, other := range c.all {
		if c.allocated && !slices.Contains(s.allocations[cid], other.name) {
			continue
		}
		wanted++
		here = here || other.name == s.name
		if other.pins[cid] {
			held++
		}
	}
	switch {
	case row.Status == "pinned" && held < c.enough:
		c.add(Truth, "%s says pinned of %s, which %d of its %d nodes have pinned, not %d", s.name, cid, held, wanted, c.enough)
	case row.Status != "pinned" && held >= c.copies:
		c.add(Truth, "%s says %s of %s, which %d of its %d nodes have pinned", s.name, row.Status, cid, held, wanted)
	case s.pins[cid] && !here && !s.keeps(cid):
		c.add(Strays, "%s has %s pinned, which is for %v", s.name, cid, s.allocations[cid])
	case held < c.copies && !c.dead[cid]:
		c.add(Recovery, "%s says %s of %s, which %d of its %d nodes have pinned, not %d", s.name, row.Status, cid, held, wanted, c.copies)
	case !c.replicas(row.Replicas, held, wanted):
		c.add(Truth, "%s says that %q nodes have %s, which %d of %d have pinned", s.name, row.Replicas, cid, held, wanted)
	}
}

// replicas reports whether info.replicas tells of the nodes.
func (c *comparison) replicas(text string, held, wanted int) bool {
	var have, of int
	if n, err := fmt.Sscanf(text, "%d/%d", &have, &of); n != 2 || err != nil {
		return false
	}
	return have >= held && have <= held+c.unseen && of >= wanted && of <= wanted+c.unseen
}

// lags returns a CID whose row was the same at another peer before and after a peer was asked, and
// is not at that peer.
func lags(before, peer, after map[string]row) (string, bool) {
	for _, cid := range union([]sight{{rows: before}, {rows: peer}, {rows: after}}) {
		was, listed := before[cid]
		is, still := after[cid]
		if listed != still || !was.sameRecord(is) {
			continue // It is being changed.
		}
		if has, there := peer[cid]; there != listed || !has.sameRecord(was) {
			return cid, true
		}
	}
	return "", false
}

func (r row) sameRecord(other row) bool {
	return r.Record.equal(other.Record) && r.CID == other.CID && r.RequestID == other.RequestID && r.Created == other.Created &&
		r.Until == other.Until
}
