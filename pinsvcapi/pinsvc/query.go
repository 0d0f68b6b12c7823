package pinsvc

import (
	"time"

	"github.com/ipfs/go-cid"
)

// Limits of a list request.
const (
	DefaultLimit = 10
	MaxLimit     = 1000
	MaxCIDs      = 10
)

// Query is a validated list request. Every filter that is set must match.
type Query struct {
	// CIDs are at most MaxCIDs distinct CIDs; empty means any.
	CIDs []cid.Cid
	// Name is compared as Match says; empty means any.
	Name  string
	Match Match
	// Statuses is never empty: the parser fills in the default (D4).
	Statuses StatusSet
	// Before and After are exclusive; zero means unbounded.
	Before, After time.Time
	// Limit is 1 to MaxLimit.
	Limit int
	// Meta are pairs that a pin must have, with equal values; empty means any.
	Meta map[string]string
}

// Match is the spec's TextMatchingStrategy.
type Match uint8

// The four strategies of the specification; MatchExact is the default.
const (
	MatchExact Match = iota
	MatchIExact
	MatchPartial
	MatchIPartial
)
