package pinning

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

// lister is a connector to a node that responds so to pin/ls.
func lister(t *testing.T, list http.HandlerFunc) *Connector {
	t.Helper()
	server := httptest.NewServer(list)
	t.Cleanup(server.Close)
	addr, err := manet.FromNetAddr(server.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	rpc := kuborpc.New(func() (multiaddr.Multiaddr, error) { return addr, nil })
	c := New(newNode(t, nil), Config{RPC: rpc, RequestTimeout: time.Minute, Storage: NewStorage(rpc, nil)})
	t.Cleanup(func() {
		if err := c.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// list reads a list to its end.
func list(ctx context.Context, c interface {
	PinLs(context.Context, []string, chan<- api.IPFSPinInfo) error
}, types ...string) (pins []api.IPFSPinInfo, err error) {
	out, failed := make(chan api.IPFSPinInfo), make(chan error, 1)
	go func() { failed <- c.PinLs(ctx, types, out) }()
	for pin := range out {
		pins = append(pins, pin)
	}
	return pins, <-failed
}

func listed(kind string) string { return fmt.Sprintf(`{"Cid":%q,"Type":%q}`, content, kind) }

// breaksOff lists a pin and then states an error, as Kubo does when it cannot read its pins to the end.
func breaksOff(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/id") {
		fmt.Fprint(w, `{"ID":"12D3KooWMp8HkhuuDSxPhnuXD3XKy2mnKchs1cWEk1gwUUb2pnFb"}`)
		return
	}
	sends(w, listed("recursive"))
	w.Header().Set("X-Stream-Error", "leveldb: closed")
}

// U111: when this fails, upstream reads the error, and our list can go.
func TestUpstream_TakesAnErrorInAListForItsEnd(t *testing.T) {
	pins, err := list(t.Context(), upstreamOf(t, breaksOff), "recursive")
	if err != nil || len(pins) != 1 {
		t.Errorf("%v, %v", pins, err)
	}
}

func TestPinLs_AnErrorInTheMiddleIsNoEnd(t *testing.T) {
	for name, test := range map[string]struct {
		node http.HandlerFunc
		text string
	}{
		"stated": {breaksOff, "IPFS error (pin/ls). Code: 200. Message: leveldb: closed"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			sends(w, listed("recursive"))
			panic(http.ErrAbortHandler)
		}, "unexpected EOF"},
		"at once":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"Message":"no"}`, 500) }, "IPFS error (pin/ls). Code: 500. Message: no"},
		"no response": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		if _, err := list(t.Context(), lister(t, test.node), "recursive"); err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPinLs_ListsTheFirstKind(t *testing.T) {
	var queries []string
	c := lister(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		kind := r.URL.Query().Get("type")
		sends(w, listed(kind), listed(kind))
	})
	for _, types := range [][]string{{"recursive", "direct"}, {"direct"}} {
		pins, err := list(t.Context(), c, types...)
		if err != nil || len(pins) != 2 || pins[0].Type.String() != types[0] || pins[0].Cid.String() != content {
			t.Errorf("%v: %v, %v", types, pins, err)
		}
	}
	if pins, err := list(t.Context(), c); err != nil || len(pins) != 0 {
		t.Errorf("of no kind: %v, %v", pins, err)
	}
	if want := []string{"stream=true&type=recursive", "stream=true&type=direct"}; !slices.Equal(queries, want) {
		t.Errorf("requested %v", queries)
	}
	if c.pins != 2 {
		t.Errorf("%d pins are counted", c.pins)
	}
}

// Neither a node that stops in the middle nor a reader that goes away keeps the list for ever.
func TestPinLs_Ends(t *testing.T) {
	c := lister(t, func(w http.ResponseWriter, r *http.Request) {
		sends(w, listed("recursive"), listed("recursive"))
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- c.PinLs(ctx, []string{"recursive"}, make(chan api.IPFSPinInfo)) }()
	cancel()
	if err := <-failed; err == nil {
		t.Error("no error for a reader that went away")
	}
	c.cfg.RequestTimeout = 50 * time.Millisecond
	if pins, err := list(t.Context(), c, "recursive"); err == nil || len(pins) != 2 {
		t.Errorf("%v, %v", pins, err)
	}
}
