package pinsvc

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	boxo "github.com/ipfs/boxo/pinning/remote/client"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

const (
	textV0     = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
	textV1     = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
	textPeer   = "/p2p/12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi"
	textOrigin = "/ip4/203.0.113.1/tcp/4001" + textPeer
)

// readGolden reads testdata/name into v.
func readGolden(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

type queryGolden struct{ Client, Raw, Want string }

type bodyGolden struct{ Client, Body, Want string }

func TestParseRawQuery_ReadsTheQueriesOfClients(t *testing.T) {
	var golden []queryGolden
	readGolden(t, "queries.json", &golden)
	for _, g := range golden {
		t.Run(g.Client, func(t *testing.T) {
			q, err := ParseRawQuery(g.Raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := q.Values().Encode(); got != g.Want {
				t.Errorf("read as\n%s, want\n%s", got, g.Want)
			}
		})
	}
}

func TestDecoder_ReadsTheBodiesOfClients(t *testing.T) {
	var golden []bodyGolden
	readGolden(t, "bodies.json", &golden)
	for _, g := range golden {
		t.Run(g.Client, func(t *testing.T) {
			pin, _, err := new(Decoder).Decode([]byte(g.Body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := pin.AppendJSON(nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != g.Want {
				t.Errorf("read as\n%s, want\n%s", got, g.Want)
			}
		})
	}
}

// TestMarshalJSON_WritesTheGoldenFiles reads and writes the golden responses.
func TestMarshalJSON_WritesTheGoldenFiles(t *testing.T) {
	t.Run("pinresults.json", func(t *testing.T) { roundTrip[PinResults](t) })
	t.Run("failure.json", func(t *testing.T) { roundTrip[Failure](t) })
}

func roundTrip[T any](t *testing.T) {
	name := filepath.Base(t.Name())
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var value T
	readGolden(t, name, &value)
	got, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.TrimSpace(want); !bytes.Equal(got, want) {
		t.Errorf("written as\n%s, want\n%s", got, want)
	}
}

// TestDecoder_UnderstandsBoxo has the library that Kubo uses send its requests, and
// read our responses.
func TestDecoder_UnderstandsBoxo(t *testing.T) {
	var page PinResults
	readGolden(t, "pinresults.json", &page)
	page.Count = len(page.Results) // else the client requests more
	var queries []Query
	var pins []Pin
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				t.Errorf("read the body: %v", err)
			}
			pin, _, err := new(Decoder).Decode(data)
			if err != nil {
				t.Errorf("body: %v", err)
			}
			pins = append(pins, pin)
			respond(t, w, &page.Results[0])
			return
		}
		q, err := ParseRawQuery(r.URL.RawQuery)
		if err != nil {
			t.Errorf("query: %v", err)
		}
		queries = append(queries, q)
		respond(t, w, rowsOf(t, page))
	}))
	defer server.Close()
	client := boxo.NewClient(server.URL, "token")
	v1 := cid.MustParse(textV1)
	before := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("", 2*3600))
	meta := map[string]string{"app": "x", "note": "see also: me"}

	results, err := client.LsSync(t.Context(), boxo.PinOpts.FilterCIDs(v1), boxo.PinOpts.FilterName("ä b"),
		boxo.PinOpts.FilterStatus(boxo.StatusFailed), boxo.PinOpts.FilterBefore(before), boxo.PinOpts.LsMeta(meta))
	if err != nil {
		t.Fatal(err)
	}
	want := Query{CIDs: []cid.Cid{v1}, Name: "ä b", Statuses: SetOf(StatusFailed), Before: before.UTC(), Limit: 10, Meta: meta}
	if !reflect.DeepEqual(queries, []Query{want}) {
		t.Errorf("requested %+v, want %+v", queries, want)
	}
	if len(results) != 2 || !results[1].GetCreated().Equal(page.Results[1].Created) || results[0].GetInfo()["status_details"] == "" {
		t.Errorf("the client read %v", results)
	}
	addr, err := multiaddr.NewMultiaddr(textOrigin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Add(t.Context(), v1, boxo.PinOpts.WithName("n"), boxo.PinOpts.WithOrigins(addr), boxo.PinOpts.AddMeta(meta)); err != nil {
		t.Fatal(err)
	}
	pin := Pin{CID: v1, Name: "n", Origins: []multiaddr.Multiaddr{addr}, Meta: meta}
	if !reflect.DeepEqual(pins, []Pin{pin}) {
		t.Errorf("pinned %+v, want %+v", pins, pin)
	}
}

type jsonAppender interface {
	AppendJSON([]byte) ([]byte, error)
}

func respond(t *testing.T, w io.Writer, v jsonAppender) {
	body, err := v.AppendJSON(nil)
	if err != nil {
		t.Error(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Error(err)
	}
}
