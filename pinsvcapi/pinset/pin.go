// Package pinset is the ordered view of a cluster's unordered pinset: it holds
// what lists need of every pin in compact form and answers pages and exact
// counts from memory.
//
// Pins are ordered by creation time, newest first, ties by the bytes of the
// CID (D3). Pages and counts under the filters status, whole name (exact and
// case-insensitive), before and after cost O(log n + page); a filter by CID
// costs O(CIDs); partial names and metadata scan the compact records, in
// storage order, in O(page) memory.
//
// The package knows nothing of RPC, HTTP or the cluster. Whoever feeds the
// view decides what is in it.
package pinset

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Pin is one entry of the view.
type Pin struct {
	// CID is the identity of the pin: the form that the cluster holds.
	CID cid.Cid
	// AskedOtherForm says that clients last asked for the other of the two
	// forms, CIDv0 and CIDv1, that name the same pin (D1).
	AskedOtherForm bool
	Name           string
	// Meta are the client's own pairs; nil when there are none.
	Meta map[string]string
	// Created has millisecond precision; what is finer is cut off.
	Created time.Time
	Status  pinsvc.Status
	// Direct says that only the root block is kept, not its children.
	Direct bool
	// Stamped says that the record itself keeps Created.
	Stamped bool
	// Written is the second in which the record was written, in Unix time.
	Written uint32
	// ExpiresAt is the second in which the pin expires, in Unix time; 0:
	// never.
	ExpiresAt uint32
	// Placement, Vector and Origins are numbers of the feeder: they stand for
	// the peers that should hold the pin, the state of the pin at each of
	// them, and the set of its origins (0: none).
	Placement, Vector, Origins uint32
}

// Entry is a Pin as the view keeps it, which costs nothing to hand out.
type Entry struct {
	// Key is the binary form of the CID.
	Key            string
	AskedOtherForm bool
	Name           string
	Meta           pinsvc.Pairs
	// Created is in Unix milliseconds.
	Created           int64
	Status            pinsvc.Status
	Stamped, Direct   bool
	Written           uint32
	ExpiresAt         uint32
	Placement, Vector uint32
	Origins           uint32
}

// Page is the answer to a query.
type Page struct {
	// Count is the number of matches of all filters.
	Count int
	// Entries are the newest of them, at most the limit of the query, except
	// for the rule on equal creation times (D3).
	Entries []Entry
}
