package pinning

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

// TestMain fails when a connector leaves goroutines behind. Libraries of the cluster
// start some when they are loaded.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// node is the RPC of an IPFS node that does with pin/add what a test says, and the
// connector to it.
type node struct {
	ipfscluster.IPFSConnector
	t *testing.T

	mu       sync.Mutex
	pinned   map[cid.Cid]bool
	adds     int
	query    string
	add      http.HandlerFunc
	unpinErr error
	size     string // of content, as JSON; empty: it is not known
	repo     uint64
	silent   bool
	asked    func() // if not nil, called with each request that a silent node gets
	// note is the response to a try to write.
	note    http.HandlerFunc
	probes  chan struct{} // Gets a value for each request of the version, as far as it has room.
	givenUp []cid.Cid
	failed  bool // of the last one
}

func newNode(t *testing.T, add http.HandlerFunc) *node {
	return &node{t: t, add: add, pinned: make(map[cid.Cid]bool), probes: make(chan struct{}, 2)}
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	add, size, repo, silent, asked := n.add, n.size, n.repo, n.silent, n.asked
	if r.URL.Query().Get("arg") == probeCID().String() && n.note != nil {
		note := n.note
		n.mu.Unlock()
		note(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/pin/add") {
		n.adds++
		n.query = r.URL.RawQuery
	}
	n.mu.Unlock()
	switch command := strings.TrimPrefix(r.URL.Path, "/api/v0/"); {
	case command == "pin/add":
		add(w, r)
	case silent:
		if asked != nil {
			asked()
		}
		<-r.Context().Done()
	case command == "repo/stat":
		fmt.Fprintf(w, `{"RepoSize":%d}`, repo)
	case command == "files/stat" && size != "":
		fmt.Fprintf(w, `{"CumulativeSize":%s}`, size)
	case command == "version":
		select {
		case n.probes <- struct{}{}:
		default:
		}
		fmt.Fprint(w, `{}`)
	default:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"Message":"not found"}`)
	}
}

// set changes the node while it is in use.
func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *node) added() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.adds
}

func (n *node) PinLsCid(_ context.Context, pin api.Pin) (api.IPFSPinStatus, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pinned[pin.Cid.Cid] && pin.MaxDepth != 0 { // Kubo finds no direct pin then.
		return api.IPFSPinStatusRecursive, nil
	}
	return api.IPFSPinStatusUnpinned, nil
}

func (n *node) Unpin(context.Context, api.Cid) error { return n.unpinErr }

func (n *node) Shutdown(context.Context) error { return nil }

// connector is one in front of the node.
func (n *node) connector(change func(*Config)) *Connector {
	n.t.Helper()
	server := httptest.NewServer(n)
	n.t.Cleanup(server.Close)
	addr, err := manet.FromNetAddr(server.Listener.Addr())
	if err != nil {
		n.t.Fatal(err)
	}
	rpc := kuborpc.New(func() (multiaddr.Multiaddr, error) { return addr, nil })
	cfg := Config{
		RPC: rpc, PinTimeout: time.Minute, RequestTimeout: time.Minute, Name: "ours", Storage: NewStorage(rpc, nil),
		GivenUp: func(c cid.Cid, failed bool) {
			n.set(func() { n.givenUp, n.failed = append(n.givenUp, c), failed })
		},
	}
	if change != nil {
		change(&cfg)
	}
	c := New(n, cfg)
	n.t.Cleanup(func() {
		if err := c.Shutdown(context.Background()); err != nil {
			n.t.Error(err)
		}
	})
	return c
}

const content = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

func pinOf(t *testing.T, text string) api.Pin {
	t.Helper()
	c, err := cid.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return api.PinWithOpts(api.NewCid(c), api.PinOptions{Mode: api.PinModeRecursive})
}

// sends responds with values, each at once.
func sends(w http.ResponseWriter, values ...string) {
	w.Header().Set("Trailer", "X-Stream-Error")
	for _, value := range values {
		fmt.Fprintln(w, value)
	}
	w.(http.Flusher).Flush()
}

// failsLate responds as Kubo does when a pin fails after a while.
func failsLate(message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		sends(w, `{"Progress":1,"Bytes":1000}`)
		w.Header().Set("X-Stream-Error", message)
	}
}

func TestPin_IsConfirmedByTheNode(t *testing.T) {
	pin := pinOf(t, content)
	var n *node
	n = newNode(t, func(w http.ResponseWriter, _ *http.Request) {
		n.set(func() { n.pinned[pin.Cid.Cid] = true })
		sends(w, `{"Progress":1}`, `{"Pins":["`+content+`"]}`)
	})
	c := n.connector(nil)
	for range 2 {
		if err := c.Pin(t.Context(), pin); err != nil {
			t.Fatal(err)
		}
	}
	if n.added() != 1 {
		t.Errorf("the pin was requested %d times", n.added())
	}
	if want := "arg=" + content + "&name=ours&progress=true&recursive=true"; n.query != want {
		t.Errorf("requested %s, want %s", n.query, want)
	}
	if len(n.givenUp) != 0 {
		t.Errorf("given up: %v", n.givenUp)
	}
}

// U38: the error comes in a trailer, and upstream counts the try as a success.
func TestPin_AnErrorAfterTheResponseHasBegunIsAnError(t *testing.T) {
	n := newNode(t, failsLate("pin: block was not found"))
	err := n.connector(nil).Pin(t.Context(), pinOf(t, content))
	if err == nil || !strings.Contains(err.Error(), "IPFS error (pin/add)") || !strings.HasSuffix(err.Error(), "Message: pin: block was not found") {
		t.Errorf("got %v", err)
	}
}

// The end of a response proves nothing, even when it names the pin.
func TestPin_AResponseWithoutAPinIsAnError(t *testing.T) {
	for name, values := range map[string][]string{
		"without a result": {`{"Progress":1}`}, "with a result that is not true": {`{"Pins":["` + content + `"]}`}, "empty": nil,
	} {
		n := newNode(t, func(w http.ResponseWriter, _ *http.Request) { sends(w, values...) })
		if err := n.connector(nil).Pin(t.Context(), pinOf(t, content)); !errors.Is(err, errNoResult) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPin_AResponseThatIsCutOffIsAnError(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, _ *http.Request) {
		sends(w, `{"Progress":1}`)
		panic(http.ErrAbortHandler)
	})
	// The engine knows a node that went away by this text.
	if err := n.connector(nil).Pin(t.Context(), pinOf(t, content)); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("got %v", err)
	}
}

// keeps sends the same progress until the request ends.
func keeps(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		sends(w, `{"Progress":7}`)
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func TestPin_WithoutProgressFailsAfterPinTimeout(t *testing.T) {
	n := newNode(t, keeps)
	err := n.connector(func(cfg *Config) { cfg.PinTimeout = 100 * time.Millisecond }).Pin(t.Context(), pinOf(t, content))
	if !errors.Is(err, errStalled) || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v", err)
	}
}

// A frozen node is no failure of its pins.
func TestPin_ANodeThatStopsToRespondIsUnavailable(t *testing.T) {
	for name, limits := range map[string][2]time.Duration{
		"silent":                   {50 * time.Millisecond, time.Minute},
		"silent until pin_timeout": {time.Minute, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
				sends(w, `{"Progress":7}`)
				<-r.Context().Done()
			})
			n.silent = true
			c := n.connector(func(cfg *Config) { cfg.PinTimeout = limits[1] })
			c.silence, c.probe = limits[0], 50*time.Millisecond
			if err := c.Pin(t.Context(), pinOf(t, content)); !errors.Is(err, errSilent) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A proxy that holds progress back is no frozen node.
func TestPin_SilenceAloneIsNoFailure(t *testing.T) {
	pin := pinOf(t, content)
	var n *node
	n = newNode(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 { // It was silent for so long several times.
			<-n.probes
		}
		n.set(func() { n.pinned[pin.Cid.Cid] = true })
		sends(w, `{"Pins":["`+content+`"]}`)
	})
	c := n.connector(nil)
	c.silence = 10 * time.Millisecond
	if err := c.Pin(t.Context(), pin); err != nil {
		t.Error(err)
	}
}

func TestPin_CancelledIsGivenUp(t *testing.T) {
	n := newNode(t, keeps)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	pin := pinOf(t, content)
	if err := n.connector(nil).Pin(ctx, pin); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(n.givenUp) != 1 || n.givenUp[0] != pin.Cid.Cid || n.failed {
		t.Errorf("given up: %v", n.givenUp)
	}
}

func TestUnpin_ThatFailsIsGivenUp(t *testing.T) {
	n := newNode(t, nil)
	c, pin := n.connector(nil), pinOf(t, content)
	if err := c.Unpin(t.Context(), pin.Cid); err != nil || len(n.givenUp) != 0 {
		t.Errorf("got %v, given up %v", err, n.givenUp)
	}
	n.unpinErr = errors.New("connection refused")
	if err := c.Unpin(t.Context(), pin.Cid); !errors.Is(err, n.unpinErr) || len(n.givenUp) != 1 || !n.failed {
		t.Errorf("got %v, given up %v", err, n.givenUp)
	}
}

// A root that is wanted alone is pinned when all below it is: Kubo refuses to pin it once more (U109).
func TestPin_ARootIsPinnedWithAllBelowIt(t *testing.T) {
	pin := pinOf(t, content)
	n := newNode(t, failsLate("pin: "+content+" already pinned recursively"))
	n.pinned[pin.Cid.Cid] = true
	c := n.connector(nil)
	pin.Mode, pin.MaxDepth = api.PinModeDirect, 0
	if err := c.Pin(t.Context(), pin); err != nil || n.added() != 0 {
		t.Errorf("%v, and the node was asked %d times", err, n.added())
	}
	if status, err := c.PinLsCid(t.Context(), pin); err != nil || status != api.IPFSPinStatusRecursive {
		t.Errorf("it is %s, %v", status, err)
	}
}
