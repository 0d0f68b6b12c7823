package pinsvc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"
)

// The mirrors say with encoding/json what the objects should be on the wire.
type (
	mirrorResults struct {
		Count   int            `json:"count"`
		Results []mirrorStatus `json:"results"`
	}
	mirrorStatus struct {
		RequestID string            `json:"requestid"`
		Status    string            `json:"status"`
		Created   string            `json:"created"`
		Pin       mirrorPin         `json:"pin"`
		Delegates []string          `json:"delegates"`
		Info      map[string]string `json:"info,omitempty"`
	}
	mirrorPin struct {
		CID     string            `json:"cid"`
		Name    string            `json:"name,omitempty"`
		Origins []string          `json:"origins,omitempty"`
		Meta    map[string]string `json:"meta,omitempty"`
	}
)

func mirror(r PinResults) mirrorResults {
	m := mirrorResults{Count: r.Count, Results: []mirrorStatus{}}
	for _, ps := range r.Results {
		s := mirrorStatus{
			RequestID: ps.RequestID,
			Status:    ps.Status.String(),
			Created:   ps.Created.UTC().Format("2006-01-02T15:04:05.000Z"),
			Pin:       mirrorPin{CID: ps.Pin.CID.String(), Name: ps.Pin.Name, Meta: ps.Pin.Meta},
			Delegates: append([]string{}, ps.Delegates...),
			Info:      ps.Info,
		}
		for _, origin := range ps.Pin.Origins {
			s.Pin.Origins = append(s.Pin.Origins, origin.String())
		}
		m.Results = append(m.Results, s)
	}
	return m
}

func marshalPlain(t rapid.TB, v any) []byte {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func drawCID(t *rapid.T) cid.Cid {
	digest := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest")
	hash, err := multihash.Encode(digest, multihash.SHA2_256)
	if err != nil {
		t.Fatal(err)
	}
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return cid.NewCidV0(hash)
	case 1:
		return cid.NewCidV1(cid.DagProtobuf, hash)
	case 2:
		return cid.NewCidV1(cid.Raw, hash)
	default:
		return cid.NewCidV1(cid.Libp2pKey, identity(rapid.IntRange(0, MaxDigestBytes).Draw(t, "length")))
	}
}

func drawResults(t *rapid.T, text *rapid.Generator[string]) PinResults {
	pairs := rapid.MapOfN(text, text, 0, 20)
	orNil := func(m map[string]string) map[string]string {
		if len(m) == 0 {
			return nil
		}
		return m
	}
	results := PinResults{Count: rapid.IntRange(0, 1<<31-1).Draw(t, "count"), Results: []PinStatus{}}
	for range rapid.IntRange(0, 3).Draw(t, "length") {
		ps := PinStatus{
			Status:  rapid.SampledFrom(AllStatuses.Statuses()).Draw(t, "status"),
			Created: time.UnixMilli(rapid.Int64Range(-62135596800000, 253402300799999).Draw(t, "created")).UTC(),
			Pin:     Pin{CID: drawCID(t), Name: text.Draw(t, "name"), Meta: orNil(pairs.Draw(t, "meta"))},
			Info:    orNil(pairs.Draw(t, "info")),
		}
		if ps.Created.IsZero() {
			ps.Created = ps.Created.Add(time.Millisecond)
		}
		ps.RequestID = ps.Pin.CID.String()
		for i := range rapid.IntRange(0, 3).Draw(t, "addresses") {
			addr := multiaddr.StringCast(fmt.Sprintf("/ip4/203.0.113.%d/tcp/4001%s", i, textPeer))
			ps.Pin.Origins = append(ps.Pin.Origins, addr)
			ps.Delegates = append(ps.Delegates, addr.String())
		}
		results.Results = append(results.Results, ps)
	}
	return results
}

func TestAppendJSON_IsEncodingJSON(t *testing.T) {
	// Names of pins made by other means may hold anything.
	text := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	}), rapid.SampledFrom([]string{"<&>", "\u2028\u2029\x7f", "\b\f\n\r\t\"\\/", "\x00\x1f", "\xff\xfe😀\xc3"}))
	rapid.Check(t, func(t *rapid.T) {
		results := drawResults(t, text)
		got, err := rowsOf(t, results).AppendJSON([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		if want := append([]byte("before"), marshalPlain(t, mirror(results))...); !bytes.Equal(got, want) {
			t.Fatalf("wrote\n%s, want\n%s", got, want)
		}
		viaMarshal, err := json.Marshal(results)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := json.Marshal(mirror(results)); !bytes.Equal(viaMarshal, want) {
			t.Fatalf("json.Marshal wrote\n%s, want\n%s", viaMarshal, want)
		}
	})
}

func TestPinResults_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawResults(t, rapid.String())
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got PinResults
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%+v, want\n%+v", got, want)
		}
	})
}

func TestPinResults_EmptyAreAnArray(t *testing.T) {
	got, err := json.Marshal(PinResults{})
	if err != nil || string(got) != `{"count":0,"results":[]}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestMarshalJSON_RefusesBrokenValues(t *testing.T) {
	good := func() PinStatus {
		return PinStatus{RequestID: textV0, Status: StatusPinned, Pin: Pin{CID: cid.MustParse(textV0)}}
	}
	if _, err := json.Marshal(good()); err != nil {
		t.Fatal(err)
	}
	for name, breakIt := range map[string]func(*PinStatus){
		"request ID": func(ps *PinStatus) { ps.RequestID = "" },
		"no CID":     func(ps *PinStatus) { ps.RequestID = "x" },
		"status":     func(ps *PinStatus) { ps.Status = 0 },
		"no status":  func(ps *PinStatus) { ps.Status = StatusFailed + 1 },
		"CID":        func(ps *PinStatus) { ps.Pin.CID = cid.Undef },
		"year":       func(ps *PinStatus) { ps.Created = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		ps := good()
		breakIt(&ps)
		if data, err := json.Marshal(PinResults{Results: []PinStatus{ps}}); err == nil {
			t.Errorf("%s: written as %s", name, data)
		}
	}
}

func TestUnmarshalJSON_Refuses(t *testing.T) {
	const pin = `"pin":{"cid":"` + textV0 + `"}`
	for _, text := range []string{
		`{}`, `{"count":-1,"results":[]}`, `{"count":1,"results":[{}]}`,
		`{"count":1,"results":[{"requestid":"x","status":"gone","created":"2026-01-02T15:04:05Z",` + pin + `}]}`,
		`{"count":1,"results":[{"requestid":"x","status":"pinned","created":"today",` + pin + `}]}`,
		`{"count":1,"results":[{"requestid":"x","status":"pinned","created":"2026-01-02T15:04:05Z"}]}`,
	} {
		var results PinResults
		if err := json.Unmarshal([]byte(text), &results); err == nil {
			t.Errorf("%s was read as %+v", text, results)
		}
	}
	var failure Failure
	if err := json.Unmarshal([]byte(`{"error":{}}`), &failure); err == nil {
		t.Errorf("a failure without a reason was read as %+v", failure)
	}
}
