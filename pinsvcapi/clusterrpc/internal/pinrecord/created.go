package pinrecord

import (
	"hash/fnv"
	"strings"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// createdLayout is the format of a creation time under keyCreated.
const createdLayout = "2006-01-02T15:04:05.000Z"

// lastSecond is the latest accepted time, in the year 9000. JSON times have
// four-digit years, and later pins must still get a later time.
const lastSecond = 221_845_392_000

// CreatedOf is the creation time of a pin, in UTC and whole milliseconds (D2).
// ours reports whether the record keeps it. For pins made by other tools the
// second is the record's timestamp, and the millisecond comes from a hash of the
// CID: the same on every peer, and stable until the pin is written again.
func CreatedOf(rec api.Pin) (created time.Time, ours bool) {
	if created, ok := ReadStamp(rec.Cid, StampIn(rec.Metadata)); ok {
		return created, true
	}
	second := min(max(0, rec.Timestamp.Unix()), lastSecond) // Unset is the year 1.
	h := fnv.New64a()
	h.Write(rec.Cid.Bytes())
	return time.UnixMilli(second*1000 + int64(h.Sum64()%1000)).UTC(), false
}

// StampIn is the creation time in the metadata of a record, as it is written there: see ReadStamp.
func StampIn(metadata map[string]string) string { return metadata[keyCreated] }

// ReadStamp reads a creation time from the metadata of a pin's record. One of another pin, or none, is
// not ok.
func ReadStamp(key api.Cid, stamp string) (created time.Time, ok bool) {
	text, owner, ok := strings.Cut(stamp, " ")
	if !ok || owner != key.String() {
		return time.Time{}, false
	}
	t, err := time.Parse(createdLayout, text)
	return t.UTC(), err == nil && 0 <= t.Unix() && t.Unix() < lastSecond
}

// Stamp writes a creation time into a record whose metadata is the caller's.
func Stamp(rec api.Pin, created time.Time) {
	rec.Metadata[keyCreated] = withOwner(rec.Cid, created.UTC().Format(createdLayout))
}
