package faults

import (
	"fmt"
	"slices"
	"strings"
)

// row is what a peer says of a pin.
type row struct {
	Record
	CID, RequestID, Created string
	Status                  string
	// Kept are the replaced pins whose content is kept until this one is pinned.
	Kept []string
}

// sight is what one peer says, and what its IPFS node has.
type sight struct {
	name string
	rows map[string]row
	pins map[string]bool
	// twice tells of rows of one content.
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
	cids []string
	// copies is how many nodes should have a pin, enough how many make it pinned.
	copies, enough int
	dead           map[string]bool
}

// compare returns all in which the peers differ from each other and from their
// nodes.
func compare(all []sight, u universe) []Problem {
	var found []Problem
	add := func(i Invariant, format string, args ...any) {
		found = append(found, Problem{Invariant: i, Text: fmt.Sprintf(format, args...)})
	}
	for _, s := range all {
		for _, text := range s.twice {
			add(Agreement, "%s lists %s", s.name, text)
		}
	}
	for _, cid := range u.cids {
		first, listed := all[0].rows[cid]
		for _, s := range all[1:] {
			other, ok := s.rows[cid]
			if ok != listed {
				add(Agreement, "%s is listed at %s: %v, at %s: %v", cid, all[0].name, listed, s.name, ok)
				continue
			}
			if ok && !first.sameRecord(other) {
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
		if !s.keeps(cid) {
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

// lags returns a CID whose row was the same at another peer before and after a peer was asked, and
// is not at that peer.
func lags(before, peer, after map[string]row, cids []string) (string, bool) {
	for _, cid := range cids {
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
	return r.Record.equal(other.Record) && r.CID == other.CID && r.RequestID == other.RequestID && r.Created == other.Created
}
