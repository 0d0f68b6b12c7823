package raftstate

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// markKey is the metadata key of marks. Clients can neither set it nor see it.
const markKey = pinsvc.ReservedMetaPrefix + "raft"

// noMark begins the value of the key in an entry that removes a pin, and its nonce ends it: it takes the
// place of the mark that the entry before left.
const noMark = "-"

// removalNonce returns the nonce of a removal, and whether it has one from the peer that redirected it.
func removalNonce(pin api.Pin) (nonce string, redirected bool) {
	if nonce, ok := strings.CutPrefix(pin.Metadata[markKey], noMark); ok && nonce != "" {
		return nonce, true
	}
	return rand.Text(), false
}

// mark is what an entry says of itself: the record as it was asked for, and a nonce that tells the
// entry from others with the same record.
type mark struct {
	nonce  string
	record []byte // The pin in its protobuf form, without the mark.
}

// String is the value of the metadata key. It is text because metadata must be UTF-8.
func (m mark) String() string {
	return m.nonce + " " + base64.RawStdEncoding.EncodeToString(m.record)
}

// parseMark reads the value of the metadata key.
func parseMark(text string) (mark, bool) {
	nonce, record, found := strings.Cut(text, " ")
	if !found {
		return mark{}, false
	}
	bytes, err := base64.RawStdEncoding.DecodeString(record)
	return mark{nonce, bytes}, err == nil
}

// marked returns the pin with a mark. One that it has already is kept if it is true of the pin, so
// that a write that is redirected to the leader keeps the nonce that its peer waits for. The error (U34 in
// docs/upstream-faults.md)
// is about pins that have no protobuf form: applied to the state they would end Raft on all peers.
func marked(pin api.Pin) (_ api.Pin, m mark, redirected bool, err error) {
	given := pin.Metadata[markKey]
	pin.Metadata = maps.Clone(pin.Metadata) // The caller's map may be shared.
	delete(pin.Metadata, markKey)
	record, err := pin.ProtoMarshal()
	if err != nil {
		return api.Pin{}, mark{}, false, fmt.Errorf("the pin cannot be stored: %w", err)
	}
	m, redirected = parseMark(given)
	if !redirected || !slices.Equal(m.record, record) {
		m, redirected = mark{rand.Text(), record}, false
	}
	if pin.Metadata == nil {
		pin.Metadata = make(map[string]string, 1)
	}
	pin.Metadata[markKey] = m.String()
	return pin, m, redirected, nil
}

// describes reports whether the mark is of the entry that Raft made this record of: every field
// that was asked for has its value. Fields that were left empty may have any, which is U30. A mark
// that another entry left behind, or that was copied from the state of a peer of
// ipfs-cluster-service, names another CID or differs at least in the time of the pin.
func (m mark) describes(merged api.Pin) bool {
	var asked api.Pin
	if err := asked.ProtoUnmarshal(m.record); err != nil {
		return false
	}
	for key, value := range asked.Metadata {
		if merged.Metadata[key] != value {
			return false
		}
	}
	return asked.Cid.Equals(merged.Cid) && asked.Type == merged.Type &&
		inherits(merged.Name, asked.Name) &&
		inherits(merged.MaxDepth, asked.MaxDepth) &&
		inherits(merged.ReplicationFactorMin, asked.ReplicationFactorMin) &&
		inherits(merged.ReplicationFactorMax, asked.ReplicationFactorMax) &&
		inherits(merged.ShardSize, asked.ShardSize) &&
		inherits(merged.PinUpdate, asked.PinUpdate) &&
		(asked.Reference == nil || merged.Reference != nil && asked.Reference.Equals(*merged.Reference)) &&
		(asked.Timestamp.IsZero() || asked.Timestamp.Equal(merged.Timestamp)) &&
		(asked.ExpireAt.IsZero() || asked.ExpireAt.Equal(merged.ExpireAt)) &&
		(len(asked.Allocations) == 0 || slices.Equal(asked.Allocations, merged.Allocations)) &&
		(len(asked.Origins) == 0 || slices.EqualFunc(asked.Origins, merged.Origins, func(a, b api.Multiaddr) bool {
			return a.Equal(b.Multiaddr)
		}))
}

// inherits reports whether a field has the value asked for, or any if none was.
func inherits[T comparable](merged, asked T) bool {
	var empty T
	return asked == empty || merged == asked
}

// unmarked takes the mark, if any, out of a record in its protobuf form. ok reports whether the
// record had one that can be read.
func unmarked(row []byte) (merged api.Pin, m mark, ok bool) {
	if err := merged.ProtoUnmarshal(row); err != nil {
		return api.Pin{}, mark{}, false
	}
	m, ok = parseMark(merged.Metadata[markKey])
	delete(merged.Metadata, markKey)
	return merged, m, ok
}
