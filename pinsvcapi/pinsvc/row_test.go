package pinsvc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"
)

func rowsOf(t interface{ Fatal(...any) }, results PinResults) Page {
	page, err := results.Page()
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// A page of rows is written as the PinResults that it stands for, and can be
// turned back into it.
func TestRow_IsWrittenAsItsPinStatus(t *testing.T) {
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
		want := append([]byte("before"), marshalPlain(t, mirror(results))...)
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
		if again, err := rowsOf(t, back).AppendJSON([]byte("before")); err != nil || !bytes.Equal(again, want) {
			t.Fatalf("came back as\n%s, want\n%s (%v)", again, want, err)
		}
		for i := range results.Results {
			single, err := results.Results[i].AppendJSON(nil)
			if want := marshalPlain(t, mirror(results).Results[i]); err != nil || !bytes.Equal(single, want) {
				t.Fatalf("alone wrote\n%s, want\n%s (%v)", single, want, err)
			}
		}
	})
}

func TestRow_ThatBreaksTheContractIsNotWritten(t *testing.T) {
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

// page is like the pages of most services.
func page(n int, form func(multihash.Multihash) cid.Cid) PinResults {
	results := PinResults{Count: 1_000_000}
	for i := range n {
		hash, _ := multihash.Sum(fmt.Append(nil, i), multihash.SHA2_256, -1)
		c := form(hash)
		results.Results = append(results.Results, PinStatus{
			RequestID: c.String(),
			Status:    StatusPinned,
			Created:   time.UnixMilli(1767366245678 + int64(i)).UTC(),
			Pin:       Pin{CID: c, Name: fmt.Sprintf("holiday picture %04d", i), Meta: map[string]string{"app_id": "99986338-1113"}},
			Delegates: []string{textOrigin, "/ip4/203.0.113.1/udp/4001/quic-v1" + textPeer},
			Info:      map[string]string{"replicas": "2/3"},
		})
	}
	return results
}

func BenchmarkAppendJSON(b *testing.B) {
	forms := map[string]func(multihash.Multihash) cid.Cid{
		"v0": cid.NewCidV0,
		"v1": func(h multihash.Multihash) cid.Cid { return cid.NewCidV1(cid.Raw, h) },
	}
	for _, n := range []int{10, 1000} {
		for name, form := range forms {
			for what, origins := range map[string]int{"rows": 0, "rows-with-origins": 3} {
				results := page(n, form)
				for i := range results.Results {
					results.Results[i].Pin.Origins = slices.Repeat([]multiaddr.Multiaddr{multiaddr.StringCast(textOrigin)}, origins)
				}
				rows := rowsOf(b, results)
				b.Run(fmt.Sprintf("%d/%s/%s", n, name, what), func(b *testing.B) {
					var buf []byte
					var err error
					b.ReportAllocs()
					for b.Loop() {
						if buf, err = rows.AppendJSON(buf[:0]); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
		results := mirror(page(n, cid.NewCidV0))
		b.Run(fmt.Sprintf("%d/encoding-json", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := json.Marshal(results); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
