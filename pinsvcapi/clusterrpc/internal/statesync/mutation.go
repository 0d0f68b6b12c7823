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

// Mutation is a change of one record. It is applied to what the state has, when it
// is submitted and again when it has to be resubmitted.
type Mutation struct {
	// Apply returns what is to be in the state instead of current. It has no
	// side effects, does not change current, and applying it twice is the same
	// as once.
	Apply func(current Versioned) Versioned
	// Absolute mutations do not depend on uncommitted mutations before them.
	Absolute bool
}

// Remove is the mutation that removes a record.
func Remove(key api.Cid) Mutation {
	return Mutation{Absolute: true, Apply: func(Versioned) Versioned { return Versioned{Rec: api.PinCid(key)} }}
}

// In reports whether current has the mutation already: to apply it changes nothing.
func (m Mutation) In(current Versioned) bool { return m.Apply(current).form() == current.form() }

// after is the mutation that applies first and then m.
func (m Mutation) after(first Mutation) Mutation {
	if m.Absolute || first.Apply == nil {
		return m
	}
	return Mutation{Absolute: first.Absolute, Apply: func(current Versioned) Versioned {
		return m.Apply(first.Apply(current))
	}}
}

// Write is a write that the cluster accepted.
type Write struct {
	Key      cid.Cid
	Mutation Mutation
	// Before is what the state had when the write was submitted, and After what
	// it will have.
	Before, After Versioned
	// Outstanding is what Uncommitted.Outstanding returned when the write was
	// submitted. Earlier writes may be committed, and dropped from the table,
	// before the state shows this one.
	Outstanding []uint64
}
