// Package pinset is the ordered view of a cluster's unordered pinset: it holds
// in compact form what lists need of every pin, and serves pages and exact
// counts from memory.
//
// Pins are ordered by creation time, newest first, ties by the bytes of the
// CID (D3). Pages and counts under the filters status, whole name (exact and
// case-insensitive), before and after cost O(log n + page); a filter by CID
// costs O(CIDs); partial names and metadata scan the compact rows in storage
// order and take O(page) memory.
//
// Every change of a row goes into a journal, which readers follow by sequence
// numbers: see View.Since.
//
// The package knows nothing of RPC, HTTP or the cluster. The feeder of the view
// decides which pins are in it.
package pinset

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Pin is one pin of the view.
type Pin struct {
	// CID is the identity of the pin, in the form that the cluster holds.
	CID cid.Cid
	// OtherFormRequested reports whether the latest request named the other one of
	// the two forms of the CID, CIDv0 and CIDv1 (D1).
	OtherFormRequested bool
	Name               string
	// Meta are the pairs of the client; nil when there are none.
	Meta map[string]string
	// Created is kept with millisecond precision; the rest is cut off.
	Created time.Time
	Status  pinsvc.Status
	// Direct reports whether the pin keeps the root block alone.
	Direct bool
	// Stamped reports whether the cluster's record itself holds Created.
	Stamped bool
	// Revised reports whether the record was requested again since Created.
	Revised bool
	// Sharded reports whether the record is the root of shards, which are records too.
	Sharded bool
	// Written is the second in which the record was written, in Unix time.
	Written uint32
	// Revision tells two requests of that second apart: the low bits of the number that the
	// feeder gives to each.
	Revision uint16
	// ExpiresAt is the second in which the pin expires, in Unix time; 0:
	// never.
	ExpiresAt uint32
	// Placement, Vector and Origins are numbers of the feeder: they stand for
	// the peers that should hold the pin, the state of the pin at each of
	// them, and the set of its origins (0: none).
	Placement, Vector, Origins uint32
}

// Entry is a Pin in the form in which the view keeps it; making one allocates
// nothing.
type Entry struct {
	// Key is the binary form of the CID.
	Key                string
	OtherFormRequested bool
	Name               string
	Meta               pinsvc.Pairs
	// Created is in Unix milliseconds.
	Created          int64
	Status           pinsvc.Status
	Stamped, Direct  bool
	Revised, Sharded bool
	// The numbers are those of Pin.
	Written, ExpiresAt         uint32
	Revision                   uint16
	Placement, Vector, Origins uint32
}

// Page is the result of a query.
type Page struct {
	// Count is the number of pins that pass all filters.
	Count int
	// Entries are the newest of them, at most the limit of the query, except
	// under the rule on equal creation times (D3).
	Entries []Entry
}
