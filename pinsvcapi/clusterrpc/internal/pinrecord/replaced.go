package pinrecord

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
)

const (
	// MaxReplaced is how many pins a request may have one record name as replaced.
	MaxReplaced = 64
	// maxNamed is how many a record can name. What several peers have written at once is
	// named by one record afterwards, and each of them may have named MaxReplaced.
	maxNamed = 4 * MaxReplaced
)

// Replaced names a pin that another has replaced (D6): one revision of the record of
// a key. A record that was requested anew is another revision, which no older
// replacement names, so one write of the record ends its replacement.
type Replaced struct {
	Key      cid.Cid
	Revision int64
}

// RevisionOf is the number of the last request for the pin of a record: when it was
// made, in Unix milliseconds. It is kept when the cluster pins the record again, and
// changes when another tool writes it.
func RevisionOf(rec api.Pin) int64 {
	if text, ok := ownValue(rec, keyRevision); ok {
		if n, err := strconv.ParseInt(text, 36, 64); err == nil && 0 < n && n < lastSecond*1000 {
			return n
		}
	}
	created, _ := CreatedOf(rec)
	return created.UnixMilli()
}

// Revised reports whether the revision of a record is another than its creation.
func Revised(rec api.Pin) bool {
	if _, ok := rec.Metadata[keyRevision]; !ok {
		return false
	}
	created, _ := CreatedOf(rec)
	return RevisionOf(rec) != created.UnixMilli()
}

// Revise writes a revision into a record whose metadata is the caller's.
func Revise(rec api.Pin, at time.Time) {
	rec.Metadata[keyRevision] = withOwner(rec.Cid, strconv.FormatInt(at.UnixMilli(), 36))
}

// Unrevise makes the creation the revision of a record whose metadata is the caller's.
func Unrevise(rec api.Pin) { delete(rec.Metadata, keyRevision) }

// ReplacedBy are the pins that the pin of a record has replaced. They may be gone, or
// requested anew.
func ReplacedBy(rec api.Pin) []Replaced {
	text, ok := ownValue(rec, keyReplaces)
	if !ok {
		return nil
	}
	var list []Replaced
	for name := range strings.SplitSeq(text, ",") {
		key, number, _ := strings.Cut(name, "@")
		c, err := cid.Decode(key)
		n, numberErr := strconv.ParseInt(number, 36, 64)
		r := Replaced{c, n}
		if err == nil && numberErr == nil && !c.Equals(rec.Cid.Cid) && !slices.Contains(list, r) && len(list) < maxNamed {
			list = append(list, r)
		}
	}
	return list
}

// SetReplaced writes the pins that the pin of a record has replaced into the record,
// whose metadata is the caller's.
func SetReplaced(rec api.Pin, list []Replaced) {
	delete(rec.Metadata, keyReplaces)
	names := make([]string, 0, len(list))
	for _, r := range list {
		if !r.Key.Equals(rec.Cid.Cid) && len(names) < maxNamed {
			names = append(names, r.Key.String()+"@"+strconv.FormatInt(r.Revision, 36))
		}
	}
	if len(names) > 0 {
		rec.Metadata[keyReplaces] = withOwner(rec.Cid, strings.Join(names, ","))
	}
}

// WithReplaced returns rec naming further pins as replaced, as far as there is room. It
// is rec itself when that names them all; else the result shares no map with it.
func WithReplaced(rec api.Pin, names []Replaced) api.Pin {
	all := ReplacedBy(rec)
	n := len(all)
	for _, r := range names {
		if !slices.Contains(all, r) && !r.Key.Equals(rec.Cid.Cid) && len(all) < maxNamed {
			all = append(all, r)
		}
	}
	if len(all) == n {
		return rec
	}
	rec.Metadata = maps.Clone(rec.Metadata)
	if rec.Metadata == nil {
		rec.Metadata = make(map[string]string, 1)
	}
	SetReplaced(rec, all)
	return rec
}
