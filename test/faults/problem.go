package faults

import (
	"fmt"
	"sync"
	"time"
)

// Invariant is a kind of what must hold.
type Invariant string

// The invariants.
const (
	Register  Invariant = "register"  // no acknowledged write lost, no delete undone
	Reads     Invariant = "reads"     // no 404 at another peer while nothing is wrong
	Custody   Invariant = "custody"   // no content missing from all nodes
	Agreement Invariant = "agreement" // no row that differs between peers
	OwnRecord Invariant = "record"    // no name, metadata, origins or expiry of another pin
	Truth     Invariant = "truth"     // no lie about pinned
	Strays    Invariant = "strays"    // no pins in an IPFS node that are in no list
	Recovery  Invariant = "recovery"  // after healing all is pinned where it should be
	Answers   Invariant = "answers"   // no 500, no 503 without Retry-After, no hanging request
	Processes Invariant = "processes" // no daemon that ends by itself, panics or has a data race
	Coverage  Invariant = "coverage"  // no long run that has not done what it is for
)

// Invariants are all invariants.
func Invariants() []Invariant {
	return []Invariant{Register, Reads, Custody, Agreement, OwnRecord, Truth, Strays, Recovery, Answers, Processes, Coverage}
}

// Problem is a broken invariant.
type Problem struct {
	Invariant Invariant     `json:"invariant"`
	At        time.Duration `json:"at"`
	Text      string        `json:"text"`
}

func (p Problem) String() string {
	return fmt.Sprintf("%s at %.1fs: %s", p.Invariant, p.At.Seconds(), p.Text)
}

// problems collects what is found. It is safe for concurrent use.
type problems struct {
	start time.Time
	mu    sync.Mutex
	found []Problem
}

func (p *problems) add(i Invariant, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = append(p.found, Problem{Invariant: i, At: time.Since(p.start), Text: fmt.Sprintf(format, args...)})
}

func (p *problems) all() []Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Problem(nil), p.found...)
}
