package pinsvc

import (
	"bytes"
	"maps"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"
)

func rowsOf(t interface{ Fatal(...any) }, results PinResults) Page {
	page := Page{Count: results.Count, Rows: make([]Row, len(results.Results))}
	for i, ps := range results.Results {
		var err error
		if page.Rows[i], err = RowOf(ps); err != nil {
			t.Fatal(err)
		}
	}
	return page
}

// A page of rows is written as the PinResults that it stands for, and can be
// turned back into it.
func TestRowsAreResults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		results := drawResults(t, rapid.String())
		for i := range results.Results {
			ps := &results.Results[i]
			ps.Created = ps.Created.Truncate(time.Millisecond) // As it is kept.
			if other, ok := OtherForm(ps.Pin.CID); ok && rapid.Bool().Draw(t, "asked for the other form") {
				ps.Pin.CID = other
			}
		}
		page := rowsOf(t, results)
		want, err := results.AppendJSON([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := page.AppendJSON([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("wrote\n%s, want\n%s", got, want)
		}
		back, err := page.PinResults()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := back.AppendJSON([]byte("before")); err != nil || !bytes.Equal(again, want) {
			t.Fatalf("came back as\n%s, want\n%s (%v)", again, want, err)
		}
	})
}

func TestRowsThatBreakTheContractAreNotWritten(t *testing.T) {
	key := cid.NewCidV1(cid.Raw, identity(4)).KeyString()
	for name, row := range map[string]Row{
		"no key":    {CID: key, Status: StatusPinned},
		"no CID":    {Key: key, Status: StatusPinned},
		"no status": {Key: key, CID: key},
	} {
		if got, err := row.AppendJSON(nil); err == nil {
			t.Errorf("%s: wrote %s", name, got)
		}
	}
	if _, err := RowOf(PinStatus{RequestID: "x"}); err == nil {
		t.Error("a row for a request ID that is no CID")
	}
	for name, row := range map[string]Row{"key": {Key: "x", CID: key}, "CID": {Key: key, CID: "x"}} {
		if ps, err := row.PinStatus(); err == nil {
			t.Errorf("a bad %s: %+v", name, ps)
		}
	}
}

func TestPairsAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "pairs")
		packed := PackPairs(want)
		if got := packed.Map(); !maps.Equal(got, want) || (got == nil) != (len(want) == 0) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if got, plain := packed.appendJSON(nil), appendStringMap(nil, want); !bytes.Equal(got, plain) {
			t.Fatalf("wrote %s, want %s", got, plain)
		}
		for range packed.All() {
			break // Stopping early is fine.
		}
	})
}
