package pinrecord

import (
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// FuzzReplacedBy reads what any record that another peer may have written says of itself.
func FuzzReplacedBy(f *testing.F) {
	rec := New(pinsvctest.RawCID(1))
	rec.Metadata = map[string]string{}
	Stamp(rec, time.UnixMilli(1_700_000_000_000))
	Revise(rec, time.UnixMilli(1_800_000_000_123))
	SetReplaced(rec, []Replaced{{pinsvctest.RawCID(2), 1_800_000_000_123}, {pinsvctest.V0CID(3), -1}})
	f.Add(rec.Metadata[keyReplaces], rec.Metadata[keyRevision], rec.Metadata[keyCreated])
	f.Add(withOwner(rec.Cid, rec.Cid.String()+"@1,@,x@y,,"), withOwner(rec.Cid, "-zz"), withOwner(rec.Cid, "9223372036854775807"))
	f.Fuzz(func(t *testing.T, replaces, revision, created string) {
		rec := New(pinsvctest.RawCID(1))
		rec.Metadata = map[string]string{keyReplaces: replaces, keyRevision: revision, keyCreated: created}
		list := ReplacedBy(rec)
		if len(list) > maxNamed || slices.ContainsFunc(list, func(r Replaced) bool { return r.Key.Equals(rec.Cid.Cid) }) {
			t.Fatalf("%d are named: %v", len(list), list)
		}
		again := api.Pin{PinOptions: api.PinOptions{Metadata: map[string]string{}}, Cid: rec.Cid}
		SetReplaced(again, list)
		if got := ReplacedBy(again); !slices.Equal(got, list) {
			t.Errorf("%v, want %v", got, list)
		}
		more := WithReplaced(rec, []Replaced{{pinsvctest.RawCID(4), 7}})
		if got := ReplacedBy(more); len(list) < maxNamed && !slices.Contains(got, Replaced{pinsvctest.RawCID(4), 7}) {
			t.Errorf("%v does not name another", got)
		}
		if at, _ := CreatedOf(rec); RevisionOf(rec) < 0 && at.UnixMilli() >= 0 {
			t.Errorf("revision %d, created %v", RevisionOf(rec), at)
		}
	})
}
