package orphans

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

// node is a Kubo that responds with the handler.
func node(t *testing.T, handler http.HandlerFunc) *Kubo {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	addr, err := manet.FromNetAddr(server.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	rpc := kuborpc.New(func() (multiaddr.Multiaddr, error) { return addr, nil })
	t.Cleanup(rpc.Close)
	return NewKubo(rpc)
}

func TestKubo_Recursive(t *testing.T) {
	c := key(t, "one")
	kubo := node(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Stream-Error")
		fmt.Fprintf(w, "{\"Cid\":%q,\"Type\":\"recursive\"}\n{\"Cid\":%q}\n", emptyDirectory, c)
		if r.URL.RawQuery != "stream=true&type=recursive" {
			w.Header().Set("X-Stream-Error", r.URL.RawQuery)
		}
	})
	var got []cid.Cid
	err := kubo.Recursive(t.Context(), func(c cid.Cid) error { got = append(got, c); return nil })
	if err != nil || len(got) != 1 || got[0] != c {
		t.Errorf("got %v, %v", got, err)
	}
}

// A list that ends with an error is not the whole list.
func TestKubo_RecursiveThatEndsEarly(t *testing.T) {
	kubo := node(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Stream-Error")
		fmt.Fprintf(w, "{\"Cid\":%q}\n", key(t, "one"))
		w.Header().Set("X-Stream-Error", "datastore closed")
	})
	if err := kubo.Recursive(t.Context(), func(cid.Cid) error { return nil }); err == nil {
		t.Error("the error is not seen")
	}
}

func TestKubo_Pinned(t *testing.T) {
	for body, want := range map[string]struct {
		code   int
		pinned bool
		name   string
		fails  bool
	}{
		`{"Cid":"x","Type":"recursive","Name":"ours"}`:     {200, true, "ours", false},
		`{"Cid":"x","Type":"recursive"}`:                   {200, true, "", false},
		`{"Message":"path 'bafy' is not pinned","Code":0}`: {500, false, "", false},
		`{"Message":"datastore closed","Code":0}`:          {500, false, "", true},
		``: {200, false, "", true},
	} {
		kubo := node(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(want.code)
			fmt.Fprint(w, body)
		})
		pinned, name, err := kubo.Pinned(t.Context(), key(t, "one"))
		if pinned != want.pinned || name != want.name || (err != nil) != want.fails {
			t.Errorf("%s: pinned %t as %q, %v", body, pinned, name, err)
		}
	}
}
