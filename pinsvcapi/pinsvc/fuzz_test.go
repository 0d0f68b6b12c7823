package pinsvc

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParseQuery checks that what is accepted is within every limit, and that
// it is the same query when written and read again.
func FuzzParseQuery(f *testing.F) {
	var golden []queryGolden
	readGolden(f, "queries.json", &golden)
	for _, g := range golden {
		f.Add(g.Raw)
	}
	f.Add("cid=" + textV0 + "&cid=" + textV1 + "&meta[a]=b&meta[c]=")
	f.Add("meta=map[app:two++words+note:see+http://x.example/]&match=iexact")
	f.Add("before=0000-01-01T00:00:00%2B23:59&after=9999-12-31T23:59:59.999999999Z")
	f.Add(`meta={"\ud83d\ude00":"\u2028","<":"&"}`)
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := ParseRawQuery(raw)
		if err != nil {
			checkKind(t, err)
			return
		}
		if q.Statuses == 0 || q.Statuses&^AllStatuses != 0 || q.Match > MatchIPartial || q.Limit < 1 || q.Limit > MaxLimit ||
			len(q.CIDs) > MaxCIDs || q.Before.Location() != time.UTC || q.After.Location() != time.UTC {
			t.Fatalf("accepted %+v", q)
		}
		checkText(t, q.Name, q.Meta)
		again, err := ParseRawQuery(q.Values().Encode())
		if err != nil {
			t.Fatalf("%+v was written as %v: %v", q, q.Values(), err)
		}
		if !reflect.DeepEqual(again, q) {
			t.Fatalf("%+v was read again as %+v", q, again)
		}
	})
}

// FuzzDecoder_Limits checks the same of bodies.
func FuzzDecoder_Limits(f *testing.F) {
	var golden []bodyGolden
	readGolden(f, "bodies.json", &golden)
	for _, g := range golden {
		f.Add([]byte(g.Body))
	}
	f.Add([]byte(body(`"name":"\ud83d\ude00\u0000","meta":{"":"<&>\u2028"}`)))
	f.Add([]byte(body(`"origins":["/dns4/x.example/tcp/443/tls/ws` + textPeer + `","/unix/a%2Fb/p2p/x"]`)))
	f.Add([]byte(body(`"name":null`) + "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pin, _, err := new(Decoder).Decode(data)
		if err != nil {
			checkKind(t, err)
			return
		}
		if err := pin.Validate(); err != nil {
			t.Fatalf("accepted %+v: %v", pin, err)
		}
		checkText(t, pin.Name, pin.Meta)
		if len(pin.Origins) > MaxOrigins {
			t.Fatalf("%d origins", len(pin.Origins))
		}
		written, err := json.Marshal(pin)
		if err != nil {
			t.Fatal(err)
		}
		again, dropped, err := new(Decoder).Decode(written)
		if err != nil || dropped != (DroppedOrigins{}) {
			t.Fatalf("%s: %+v, %v", written, dropped, err)
		}
		if !reflect.DeepEqual(again, pin) {
			t.Fatalf("%+v was read again as %+v", pin, again)
		}
	})
}

func checkKind(t *testing.T, err error) {
	t.Helper()
	if details := FailureOf(err).Details; KindOf(err) != KindBadRequest || details == "" || !utf8.ValidString(details) {
		t.Fatalf("%v is %v", err, KindOf(err))
	}
}

func checkText(t *testing.T, name string, meta map[string]string) {
	t.Helper()
	size := 0
	for key, value := range meta {
		size += len(key) + len(value)
		if !utf8.ValidString(key+value) || strings.HasPrefix(key, ReservedMetaPrefix) {
			t.Fatalf("accepted the pair %q: %q", key, value)
		}
	}
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > MaxNameRunes || len(meta) > MaxMetaPairs || size > MaxMetaBytes {
		t.Fatalf("accepted the name %q and %d pairs of %d bytes", name, len(meta), size)
	}
}
