package statesync

import (
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// Versioned is what the state has under a key at one moment: a record or none.
type Versioned struct {
	Rec   api.Pin
	Found bool
}

func (v Versioned) form() uint64 {
	if !v.Found {
		return pinrecord.Absent
	}
	return pinrecord.Form(v.Rec)
}

// size is about the memory that a record takes, in bytes.
func (v Versioned) size() int {
	n := 256 + len(v.Rec.Name) + 64*len(v.Rec.Allocations) + 128*len(v.Rec.Origins)
	for key, value := range v.Rec.Metadata {
		n += len(key) + len(value)
	}
	return n
}

// Mutation returns what is to be in the state instead of current. It has no side
// effects, does not change current, and applying it twice is the same as once.
type Mutation func(current Versioned) Versioned

// In reports whether current has the mutation already: to apply it changes nothing.
func (m Mutation) In(current Versioned) bool { return m(current).form() == current.form() }

// Write is a change that the consensus is about to get, or accepted.
type Write struct {
	Key cid.Cid
	// Before is what the state had when the write was submitted, and After what it
	// will have.
	Before, After Versioned
}
