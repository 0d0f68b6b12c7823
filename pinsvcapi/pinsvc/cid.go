package pinsvc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// MaxDigestBytes bounds the multihash digest of a CID. IPFS nodes refuse longer
// ones (identity CIDs, which carry their content, in particular).
const MaxDigestBytes = 128

const (
	// dagPBPrefix begins the binary form of every CIDv1 with codec dag-pb.
	dagPBPrefix = "\x01\x70"
	// sha256Prefix begins every multihash that a CIDv0 can hold.
	sha256Prefix = "\x12\x20"
	// cidV0Len is the length of the binary form of a CIDv0.
	cidV0Len = len(sha256Prefix) + 32
)

// ParseCID reads a CID in any multibase. The error for a path, a URL or a name
// states what to send instead. Whether the CID can be pinned is for CheckPinnable.
func ParseCID(s string) (cid.Cid, error) {
	if s == "" {
		return cid.Undef, errors.New("a CID is empty")
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, notCID(s, err)
	}
	if n := c.Prefix().MhLength; n < 0 || n > MaxDigestBytes {
		return cid.Undef, fmt.Errorf("the digest of CID %s is longer than %d bytes", quote(s), MaxDigestBytes)
	}
	return c, nil
}

// ParseRequestID reads a request ID, which is the text of a CID (D1). Every
// other text names no pin: that is KindNotFound, not KindBadRequest.
func ParseRequestID(s string) (cid.Cid, bool) {
	c, err := ParseCID(s)
	return c, err == nil
}

// SamePin reports whether two CIDs name the same pin (D1): they are equal, or
// one is the CIDv0 and the other the CIDv1 with codec dag-pb of one multihash.
func SamePin(a, b cid.Cid) bool {
	return a == b || a.Defined() && b.Defined() && PinKey(a) == PinKey(b)
}

// PinKey is a key for maps and sets of pins: it is equal for two CIDs exactly
// when SamePin is true of them. It is binary, costs no allocation and is not the
// request ID.
func PinKey(c cid.Cid) string {
	key := c.KeyString()
	if hash, ok := strings.CutPrefix(key, dagPBPrefix); ok && isV0(hash) {
		return hash
	}
	return key
}

// OtherForm returns the CIDv1 of a CIDv0, or the CIDv0 of a CIDv1 that has one
// (codec dag-pb, SHA2-256): the other CID that names the same pin.
func OtherForm(c cid.Cid) (cid.Cid, bool) {
	key := c.KeyString()
	if isV0(key) {
		return cid.NewCidV1(cid.DagProtobuf, multihash.Multihash(key)), true
	}
	if hash, ok := strings.CutPrefix(key, dagPBPrefix); ok && isV0(hash) {
		return cid.NewCidV0(multihash.Multihash(hash)), true
	}
	return cid.Undef, false
}

// isV0 reports whether these bytes are those of a CIDv0.
func isV0(key string) bool { return len(key) == cidV0Len && strings.HasPrefix(key, sha256Prefix) }
