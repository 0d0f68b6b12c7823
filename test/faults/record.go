package faults

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
)

// canonical is the one form of all CIDs of a content: version 1, in base32. What
// is no CID stays as it is.
func canonical(text string) string {
	c, err := cid.Decode(text)
	if err != nil {
		return text
	}
	return cid.NewCidV1(c.Type(), c.Hash()).String()
}

// Record is what a client may set of a pin.
type Record struct {
	Name    string            `json:"name,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
	Origins []string          `json:"origins,omitempty"`
}

func (r Record) equal(other Record) bool {
	return r.Name == other.Name && maps.Equal(r.Meta, other.Meta) && slices.Equal(r.Origins, other.Origins)
}

// Value names what a register holds: a record, or nothing.
type Value string

const (
	// Absent is the value of a CID that is not pinned.
	Absent Value = "absent"
	// Plain is the value of a record with neither name nor metadata.
	Plain Value = "plain"
	// Foreign is a value that no client has written for the CID.
	Foreign Value = "foreign"
)

// metaKey is the key of the metadata that names the write.
const metaKey = "write"

// shape is which parts of a record are set. What one leaves out shows when it
// comes from another pin.
type shape int

const (
	nameAndMeta shape = iota
	nameOnly
	metaOnly
	neither
	shapes
)

// record is the record of a shape that a write sets. The key of the second pair
// of its metadata differs from write to write, so that merged ones show.
func (s shape) record(write Value, origins []string) (Value, Record) {
	r := Record{Origins: origins}
	if s == nameAndMeta || s == nameOnly {
		r.Name = string(write)
	}
	if s == nameAndMeta || s == metaOnly {
		r.Meta = map[string]string{metaKey: string(write), "key of " + string(write): "x"}
	}
	if s == neither {
		return Plain, Record{}
	}
	return write, r
}

// valueOf is the write that a record names.
func valueOf(r Record) Value {
	switch {
	case r.Name != "":
		return Value(r.Name)
	case r.Meta[metaKey] != "":
		return Value(r.Meta[metaKey])
	}
	return Plain
}

// registry knows what was written where. It is not safe for concurrent use.
type registry struct {
	written map[string]map[Value]Record // by CID
}

func newRegistry() *registry { return &registry{written: map[string]map[Value]Record{}} }

// enter comes before the request is sent.
func (g *registry) enter(key string, v Value, r Record) {
	if g.written[key] == nil {
		g.written[key] = map[Value]Record{}
	}
	g.written[key][v] = r
}

// identify returns the value of a record that a peer reports for the CID, and
// what is wrong with it when no client wrote it so.
func (g *registry) identify(key string, got Record) (Value, string) {
	v := valueOf(got)
	want, ok := g.written[key][v]
	switch {
	case !ok:
		return Foreign, fmt.Sprintf("%s is reported with %+v, which nobody wrote for it", key, got)
	case !want.equal(got):
		return Foreign, fmt.Sprintf("%s is reported with %+v, written was %+v", key, got, want)
	}
	return v, ""
}
