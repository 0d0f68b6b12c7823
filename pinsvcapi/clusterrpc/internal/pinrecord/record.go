// Package pinrecord is the codec between the records of an IPFS Cluster's shared
// state (api.Pin) and pins of the service. It knows the reserved metadata keys
// and the clock that creation times come from. Its functions share no maps with
// their arguments and have no side effects.
package pinrecord

import (
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Reserved keys of a pin's metadata. Their values end in a space and the CID of
// the state key that they belong to. A value that names another CID was copied
// by another tool and is ignored (D2).
const (
	// reservedPrefix starts them all, also those of later versions.
	reservedPrefix = pinsvc.ReservedMetaPrefix
	// keyCreated is when the pin was made, in milliseconds (D2).
	keyCreated = reservedPrefix + "created"
	// keyCID is the form of the CID that the last request had. It is set only
	// when that form is not the one of the state key (D1).
	keyCID = reservedPrefix + "cid"
	// keyRevision is when the pin was last requested, in milliseconds of base 36. It is
	// set only when that is not when it was made (D6).
	keyRevision = reservedPrefix + "revision"
	// keyReplaces names the pins that this one has replaced (D6): state keys, each with
	// "@" and the revision, with commas between.
	keyReplaces = reservedPrefix + "replaces"
)

// RequestID is the text of the state key (D1).
func RequestID(rec api.Pin) string { return rec.Cid.String() }

// Visible reports whether a record is a pin by itself: a data pin or a sharded
// root, no shard and no shard index.
func Visible(rec api.Pin) bool {
	return rec.Type == api.DataType || rec.Type == api.MetaType
}

// ownValue returns the value of a reserved key if it belongs to the record.
func ownValue(rec api.Pin, key string) (string, bool) {
	value, owner, ok := strings.Cut(rec.Metadata[key], " ")
	return value, ok && owner == RequestID(rec)
}

// withOwner is the inverse of ownValue.
func withOwner(key api.Cid, value string) string { return value + " " + key.String() }

// RequestedCID is the form of the CID that the last request had.
func RequestedCID(rec api.Pin) cid.Cid {
	if text, ok := ownValue(rec, keyCID); ok {
		if c, err := cid.Decode(text); err == nil && pinsvc.SamePin(c, rec.Cid.Cid) {
			return c
		}
	}
	return rec.Cid.Cid
}

// IsReserved reports whether a metadata key is reserved for the service.
func IsReserved(key string) bool { return strings.HasPrefix(key, reservedPrefix) }

// ClientMeta are the metadata of the client, without reserved keys; nil when
// there are none.
func ClientMeta(rec api.Pin) map[string]string {
	meta := maps.Clone(rec.Metadata)
	maps.DeleteFunc(meta, func(key, _ string) bool { return IsReserved(key) })
	if len(meta) == 0 {
		return nil
	}
	return meta
}

// CheckPin refuses a pin that a record cannot hold: one without a CID, with a CID
// that can never be pinned, or with reserved metadata keys. The error is of
// KindBadRequest.
func CheckPin(pin pinsvc.Pin) error {
	if !pin.CID.Defined() {
		return pinsvc.Errorf(pinsvc.KindBadRequest, "the pin has no CID")
	}
	if err := pinsvc.CheckPinnable(pin.CID); err != nil {
		return pinsvc.Errorf(pinsvc.KindBadRequest, "cid: %v", err)
	}
	for key := range pin.Meta {
		if IsReserved(key) {
			return pinsvc.Errorf(pinsvc.KindBadRequest, "meta key %q: keys that start with %q are reserved", key, reservedPrefix)
		}
	}
	return nil
}

// StateKey is the CID under which the service makes a new record. Both forms of
// a dag-pb SHA-256 CID have one key, so that two peers that receive requests for
// the two forms at once write the same record. The requested form is kept in the record.
func StateKey(c cid.Cid) cid.Cid {
	if other, ok := pinsvc.OtherForm(c); ok && c.Version() == 0 {
		return other
	}
	return c
}

// New is the record of a pin that the cluster does not hold yet.
func New(key cid.Cid) api.Pin {
	return api.PinWithOpts(api.NewCid(key), api.PinOptions{})
}

// WithRequest returns rec with the name, metadata, origins and CID form of a
// request. The pin becomes recursive, which is all that the service offers.
// Everything else stays: replication, expiry, reserved keys of later versions.
// The result shares no map or slice with rec.
func WithRequest(rec api.Pin, pin pinsvc.Pin) api.Pin {
	meta := make(map[string]string, len(pin.Meta)+2)
	for key, value := range rec.Metadata {
		if IsReserved(key) {
			meta[key] = value
		}
	}
	maps.Copy(meta, pin.Meta)
	delete(meta, keyCID)
	if !pin.CID.Equals(rec.Cid.Cid) {
		meta[keyCID] = withOwner(rec.Cid, pin.CID.String())
	}
	rec.Metadata = meta
	rec.Allocations, rec.UserAllocations = slices.Clone(rec.Allocations), slices.Clone(rec.UserAllocations)
	rec.Name = pin.Name
	rec.Origins = make([]api.Multiaddr, len(pin.Origins))
	for i, origin := range pin.Origins {
		rec.Origins[i] = api.NewMultiaddrWithValue(origin)
	}
	if rec.Type == api.DataType {
		rec.Mode, rec.MaxDepth = api.PinModeRecursive, -1
	}
	return rec
}

// WithReserved returns rec with the reserved metadata of the service and nothing else
// changed. The result shares no map with rec.
func WithReserved(rec api.Pin, requested cid.Cid, created time.Time) api.Pin {
	meta := maps.Clone(rec.Metadata)
	if meta == nil {
		meta = make(map[string]string, 2)
	}
	rec.Metadata = meta
	delete(meta, keyCID)
	if !requested.Equals(rec.Cid.Cid) {
		meta[keyCID] = withOwner(rec.Cid, requested.String())
	}
	Stamp(rec, created)
	return rec
}

// Direct reports whether a data pin is not recursive: its children are not
// kept. Other tools make such pins.
func Direct(rec api.Pin) bool {
	return rec.Type == api.DataType && rec.MaxDepth != -1
}

// Form is a hash (FNV-1a) of a record as the state keeps it, by which two
// versions are compared. Absent is the form of a key without a record.
func Form(rec api.Pin) uint64 {
	data, err := rec.ProtoMarshal()
	if err != nil {
		// An invalid peer ID, or a name that is not UTF-8: the cluster cannot
		// store such a record.
		return unreadable
	}
	h := fnv.New64a()
	h.Write(data)
	return max(h.Sum64(), unreadable+1)
}

// Absent is the form of a state key that has no record; unreadable is that of a
// record that cannot be marshalled.
const (
	Absent uint64 = iota
	unreadable
)
