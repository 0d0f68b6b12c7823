package faults

import "fmt"

// row is what a peer says of a pin.
type row struct {
	Record
	CID, RequestID, Created string
	Status                  string
}

// sight is what one peer says, and what its IPFS node has.
type sight struct {
	name string
	rows map[string]row
	pins map[string]bool
}

// universe is what compare has to know of the content.
type universe struct {
	cids []string
	// copies is how many nodes should have a pin, enough how many make it pinned.
	copies, enough int
	dead           map[string]bool
	// keeps reports whether replaced content may still be pinned.
	keeps func(cid string, unfinished func(string) bool) bool
}

// compare returns all in which the peers differ from each other and from their
// nodes.
func compare(all []sight, u universe) []Problem {
	var found []Problem
	add := func(i Invariant, format string, args ...any) {
		found = append(found, Problem{Invariant: i, Text: fmt.Sprintf(format, args...)})
	}
	for _, cid := range u.cids {
		first, listed := all[0].rows[cid]
		for _, s := range all[1:] {
			other, ok := s.rows[cid]
			if ok != listed {
				add(Agreement, "%s is listed at %s: %v, at %s: %v", cid, all[0].name, listed, s.name, ok)
				continue
			}
			if ok && (!first.Record.equal(other.Record) || first.CID != other.CID || first.RequestID != other.RequestID || first.Created != other.Created) {
				add(Agreement, "%s is %+v at %s, %+v at %s", cid, first, all[0].name, other, s.name)
			}
		}
		for _, s := range all {
			compareContent(s, all, cid, u, add)
		}
	}
	return found
}

// compareContent compares what one peer says of a pin with the nodes.
func compareContent(s sight, all []sight, cid string, u universe, add func(Invariant, string, ...any)) {
	holders := 0
	for _, other := range all {
		if other.pins[cid] {
			holders++
		}
	}
	row, listed := s.rows[cid]
	switch {
	case !listed && s.pins[cid]:
		unfinished := func(next string) bool { row, ok := s.rows[next]; return ok && row.Status != "pinned" }
		if !u.keeps(cid, unfinished) {
			add(Strays, "%s has %s pinned, which is in no list", s.name, cid)
		}
	case !listed:
	case row.Status == "pinned" && holders < u.enough:
		add(Truth, "%s says pinned of %s, which %d nodes have pinned, not %d", s.name, cid, holders, u.enough)
	case row.Status != "pinned" && holders >= u.copies:
		add(Truth, "%s says %s of %s, which %d nodes have pinned", s.name, row.Status, cid, holders)
	case holders > u.copies && s.pins[cid]:
		add(Strays, "%s has %s pinned, and with it %d nodes, not %d", s.name, cid, holders, u.copies)
	case holders < u.copies && !u.dead[cid]:
		add(Recovery, "%s says %s of %s, which %d nodes have pinned, not %d", s.name, row.Status, cid, holders, u.copies)
	}
}
