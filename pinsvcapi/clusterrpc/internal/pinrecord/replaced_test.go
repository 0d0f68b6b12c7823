package pinrecord

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestReplaced_IsKeptInTheRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := New(pinsvctest.V1CID(0))
		rec.Metadata = map[string]string{"client": "value"}
		var want []Replaced
		for i := range rapid.IntRange(0, MaxReplaced).Draw(t, "pins") {
			key := pinsvctest.RawCID(i)
			if rapid.Bool().Draw(t, "CIDv0") {
				key = pinsvctest.V0CID(i + 1)
			}
			want = append(want, Replaced{key, rapid.Int64Range(1, 1<<42).Draw(t, "revision")})
		}
		SetReplaced(rec, want)
		if got := ReplacedBy(rec); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		if !maps.Equal(ClientMeta(rec), map[string]string{"client": "value"}) {
			t.Fatalf("the client sees %v", ClientMeta(rec))
		}
		SetReplaced(rec, nil)
		if len(rec.Metadata) != 1 {
			t.Fatalf("left: %v", rec.Metadata)
		}
	})
}

// What ipfs-cluster-ctl copies to another pin when it updates one says nothing there.
func TestReplaced_CopiedToAnotherPinIsIgnored(t *testing.T) {
	rec := New(pinsvctest.RawCID(1))
	rec.Metadata = map[string]string{}
	rec.Timestamp = time.Unix(1_700_000_000, 0)
	plain := RevisionOf(rec)
	Revise(rec, time.UnixMilli(1_800_000_000_123))
	SetReplaced(rec, []Replaced{{pinsvctest.RawCID(2), 7}})
	if RevisionOf(rec) != 1_800_000_000_123 || !Revised(rec) || len(ReplacedBy(rec)) != 1 {
		t.Fatalf("%+v", rec)
	}
	updated := rec
	updated.Cid = api.NewCid(pinsvctest.RawCID(3))
	if len(ReplacedBy(updated)) != 0 || Revised(updated) {
		t.Errorf("the copy replaces %v and is of revision %d", ReplacedBy(updated), RevisionOf(updated))
	}
	Unrevise(rec)
	if RevisionOf(rec) != plain || Revised(rec) {
		t.Errorf("revision %d, want %d", RevisionOf(rec), plain)
	}
}

func TestReplaced_MalformedNamesAreLeftOut(t *testing.T) {
	rec := New(pinsvctest.RawCID(1))
	good := Replaced{pinsvctest.RawCID(2), 71}
	text := pinsvctest.RawCID(2).String() + "@1z"
	for _, value := range []string{
		text, text + ",", "," + text, "x@1," + text, text + "," + pinsvctest.RawCID(3).String() + "@", text + "," + pinsvctest.RawCID(3).String(),
		text + "," + text, text + "," + rec.Cid.String() + "@5", text + "," + pinsvctest.RawCID(3).String() + "@-!",
	} {
		rec.Metadata = map[string]string{"pinsvc.replaces": value + " " + rec.Cid.String()}
		if got := ReplacedBy(rec); !slices.Equal(got, []Replaced{good}) {
			t.Errorf("%q is read as %v", value, got)
		}
	}
	rec.Metadata = map[string]string{"pinsvc.revision": "-5 " + rec.Cid.String()}
	if Revised(rec) {
		t.Errorf("revision %d", RevisionOf(rec))
	}
}

// A request keeps what the record replaces: its content is kept for this pin.
func TestReplaced_IsKeptByARequest(t *testing.T) {
	rec := New(pinsvctest.RawCID(1))
	rec.Metadata = map[string]string{}
	list := []Replaced{{pinsvctest.RawCID(2), 7}}
	SetReplaced(rec, list)
	if got := ReplacedBy(WithRequest(rec, pinsvc.Pin{CID: rec.Cid.Cid, Name: "new"})); !slices.Equal(got, list) {
		t.Errorf("%v", got)
	}
}
