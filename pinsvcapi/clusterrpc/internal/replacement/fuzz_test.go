package replacement

import (
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// FuzzIndex enters any record that another peer may have written, before or after those that it
// may name: they are hidden exactly while it names them.
func FuzzIndex(f *testing.F) {
	one, two := made(1, 1000), made(2, 2000)
	for _, rec := range []api.Pin{made(3, 3000), made(3, 3000, revision(one)), made(3, 3000, revision(one), revision(two), revision(made(3, 3000)))} {
		data, err := rec.ProtoMarshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, true)
		f.Add(data, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, first bool) {
		var rec api.Pin
		if err := rec.ProtoUnmarshal(data); err != nil {
			return // The state does not hand it out.
		}
		rec.Cid = api.NewCid(pinsvctest.RawCID(3)) // It is known by its key.
		x := newFixture()
		if first {
			x.PutRecord(rec, false)
		}
		x.PutRecord(one, false)
		x.PutRecord(two, false)
		if !first {
			x.PutRecord(rec, true)
		}
		x.pinned(3)
		_ = x.Due()
		names := pinrecord.ReplacedBy(rec)
		for n, other := range map[int]api.Pin{1: one, 2: two} {
			named := false
			for _, r := range names {
				named = named || r == revision(other)
			}
			if x.shows(n) == named {
				t.Errorf("pin %d is named: %t, shown: %t", n, named, x.shows(n))
			}
		}
		if !x.shows(3) {
			t.Error("the record is not shown")
		}
		x.DeleteRecord(rec.Cid.Cid)
		if x.shows(3) {
			t.Error("the record is shown after it was removed")
		}
	})
}
