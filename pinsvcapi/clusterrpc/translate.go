package clusterrpc

import (
	"maps"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Keys of a pin's metadata that this package keeps for itself. Their values
// end in a space and the CID of the state key that they belong to; one that
// names another CID was copied from there by another tool and is ignored.
const (
	// reservedPrefix starts them all, also those of later versions.
	reservedPrefix = pinsvc.ReservedMetaPrefix
	// keyCreated is when the pin was made, in milliseconds (D2).
	keyCreated = reservedPrefix + "created"
	// keyCID is the form of the CID that was last asked for, there only
	// when it is not that of the state key (D1).
	keyCID = reservedPrefix + "cid"
)

// requestID is the text of the state key.
func requestID(rec api.Pin) string { return rec.Cid.String() }

// visible reports whether a record is a pin of its own and no part of one.
func visible(rec api.Pin) bool {
	return rec.Type == api.DataType || rec.Type == api.MetaType
}

// ownValue returns the value of a reserved key if it belongs to the record.
func ownValue(rec api.Pin, key string) (string, bool) {
	value, owner, ok := strings.Cut(rec.Metadata[key], " ")
	return value, ok && owner == requestID(rec)
}

// withOwner is the inverse of ownValue.
func withOwner(key api.Cid, value string) string { return value + " " + key.String() }

// askedCID is the form of the CID that was last asked for.
func askedCID(rec api.Pin) cid.Cid {
	if text, ok := ownValue(rec, keyCID); ok {
		if c, err := cid.Decode(text); err == nil && pinsvc.SamePin(c, rec.Cid.Cid) {
			return c
		}
	}
	return rec.Cid.Cid
}

// isReserved reports whether a key of the metadata is none of the client's.
func isReserved(key string) bool { return strings.HasPrefix(key, reservedPrefix) }

// clientMeta are the pairs of the metadata that are the client's, nil when
// there are none.
func clientMeta(rec api.Pin) map[string]string {
	meta := maps.Clone(rec.Metadata)
	maps.DeleteFunc(meta, func(key, _ string) bool { return isReserved(key) })
	if len(meta) == 0 {
		return nil
	}
	return meta
}

// checkPin refuses what the record cannot keep apart from its own keys.
func checkPin(pin pinsvc.Pin) error {
	if !pin.CID.Defined() {
		return pinsvc.Errorf(pinsvc.KindBadRequest, "the pin has no CID")
	}
	if err := pinsvc.CheckPinnable(pin.CID); err != nil {
		return pinsvc.Errorf(pinsvc.KindBadRequest, "cid: %v", err)
	}
	for key := range pin.Meta {
		if isReserved(key) {
			return pinsvc.Errorf(pinsvc.KindBadRequest, "meta key %q: keys that start with %q are reserved", key, reservedPrefix)
		}
	}
	return nil
}

// newRecord is the record of a pin that the cluster does not hold yet.
func newRecord(pin pinsvc.Pin) api.Pin {
	return api.PinWithOpts(api.NewCid(pin.CID), api.PinOptions{})
}

// asked returns rec with the request's name, meta, origins and form of the
// CID. All else stays: replication, expiry, mode, reserved keys of later
// versions. Nothing of rec is shared that would be changed.
func asked(rec api.Pin, pin pinsvc.Pin) api.Pin {
	meta := make(map[string]string, len(pin.Meta)+2)
	for key, value := range rec.Metadata {
		if isReserved(key) {
			meta[key] = value
		}
	}
	maps.Copy(meta, pin.Meta)
	delete(meta, keyCID)
	if !pin.CID.Equals(rec.Cid.Cid) {
		meta[keyCID] = withOwner(rec.Cid, pin.CID.String())
	}
	rec.Metadata = meta
	rec.Name = pin.Name
	rec.Origins = make([]api.Multiaddr, len(pin.Origins))
	for i, origin := range pin.Origins {
		rec.Origins[i] = api.NewMultiaddrWithValue(origin)
	}
	return rec
}
