package peer

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

	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// stopped stops a peer with the test.
func stopped(t *testing.T, p *Peer) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}

// newPeer makes a peer that stops with the test, with its events.
func newPeer(t *testing.T, files Files, change ...func(*Options)) (*Peer, *events) {
	t.Helper()
	seen := &events{}
	opts := Options{Configuration: configuration(t, files), Progress: seen.add}
	for _, c := range change {
		c(&opts)
	}
	p, err := New(t.Context(), opts)
	noError(t, err)
	stopped(t, p)
	return p, seen
}

// events remembers what a peer told.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// has tells whether there was an event of the stage whose detail has the text.
func (e *events) has(stage Stage, text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.all {
		if event.Stage == stage && strings.Contains(event.Detail, text) {
			return nil
		}
	}
	return fmt.Errorf("no event %q with %q among %v", stage, text, e.all)
}

// externalNode points ipfs_connector.ipfshttp to a server.
func externalNode(t *testing.T, server *httptest.Server) edit {
	t.Helper()
	addr := serverAddr(t, server).String()
	return func(sections map[string]map[string]any) {
		for _, at := range [][2]string{{"ipfs_connector", "ipfshttp"}, {"api", "ipfsproxy"}} {
			if component, ok := sections[at[0]][at[1]].(map[string]any); ok {
				component["node_multiaddress"] = addr
			}
		}
	}
}

// nobody is an address where no node answers.
func nobody(t *testing.T) edit {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return externalNode(t, server)
}

func TestOptions_Validate(t *testing.T) {
	valid := Options{Configuration: &Configuration{}}
	noError(t, valid.validate())
	if (Options{}).validate() == nil {
		t.Error("options without a configuration are valid")
	}
	valid.Bootstraps = append(valid.Bootstraps, nil)
	if valid.validate() == nil {
		t.Error("an empty bootstrap address is valid")
	}
}

// All of upstream's components run from upstream's file, the IPFS node being
// away at start and coming later.
func TestPeer_WaitsForIPFSAndServes(t *testing.T) {
	away := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-away:
			writeID(w, firstID)
		default:
			http.Error(w, `{"Message":"not yet"}`, http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	p, seen := newPeer(t, upstreamFiles(t, "crdt", "pebble", externalNode(t, server)))
	if len(p.PinsvcAddrs()) != 1 {
		t.Errorf("pinsvcapi is at %v", p.PinsvcAddrs())
	}
	noError(t, p.Start(t.Context()))
	await.Success(t, "waiting for IPFS", func() error {
		return seen.has(StageIPFS, "ipfs_connector.ipfshttp.node_multiaddress")
	})
	select {
	case <-p.Ready():
		t.Error("ready without IPFS")
	default:
	}
	close(away)
	await.Closed(t, "readiness", p.Ready())
	noError(t, seen.has(StageReady, ""))
	if p.IPFS() != nil {
		t.Error("there is a managed node")
	}
}

func TestPeer_OmittedSectionsAreNotStarted(t *testing.T) {
	p, _ := newPeer(t, upstreamFiles(t, "crdt", "pebble", noAPIs, nobody(t)))
	if len(p.apis.all) != 0 || p.PinsvcAddrs() != nil {
		t.Errorf("APIs run: %v", p.apis.all)
	}
	p, _ = newPeer(t, upstreamFiles(t, "crdt", "pebble", nobody(t)))
	if len(p.apis.all) != 3 {
		t.Errorf("%d APIs run, want 3", len(p.apis.all))
	}
}

// A file without an allocator is older than that section.
func TestPeer_LegacyAllocator(t *testing.T) {
	p, _ := newPeer(t, upstreamFiles(t, "crdt", "pebble", noAPIs, nobody(t),
		without([2]string{"allocator", "balanced"})))
	allocator, err := p.newAllocator()
	noError(t, err)
	if got := allocator.Metrics(); len(got) != 1 || got[0] != "freespace" {
		t.Errorf("allocates by %v", got)
	}
}

// Two peers never run on one folder, nor does one beside upstream's program,
// whose lock this is.
func TestPeer_HoldsTheLock(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble", noAPIs, nobody(t))
	p, _ := newPeer(t, files)
	_, err := New(t.Context(), Options{Configuration: configuration(t, files)})
	if err == nil || !strings.Contains(err.Error(), "execution lock") {
		t.Errorf("second peer: %v", err)
	}
	noError(t, p.Stop(t.Context()))
	newPeer(t, files)
}

// A failure late in New leaves nothing open.
func TestNew_RollsBack(t *testing.T) {
	for name, spoil := range map[string]edit{
		"a log file that cannot be written": func(sections map[string]map[string]any) {
			sections["api"]["restapi"].(map[string]any)["http_log_file"] = "no/such/folder/log"
		},
		"no datastore": without([2]string{"datastore", "pebble"}),
	} {
		t.Run(name, func(t *testing.T) {
			files := upstreamFiles(t, "crdt", "pebble", nobody(t), spoil)
			c := loaded(t, files)
			before := goleak.IgnoreCurrent()
			p, err := New(t.Context(), Options{Configuration: c})
			if err == nil {
				t.Fatalf("made: %v", p.Stop(t.Context()))
			}
			goleak.VerifyNone(t, before, upstreamLeaks)
			lock, err := Lock(files)
			noError(t, err)
			noError(t, lock.Close())
		})
	}
}

// upstreamLeaks is what upstream leaves behind however it is stopped: its
// Pebble store sleeps through its next report.
var upstreamLeaks = goleak.IgnoreTopFunction("github.com/ipfs-cluster/ipfs-cluster/datastore/pebble.New.func1")

func TestNew_EndsWithItsContext(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble", noAPIs, nobody(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(ctx, Options{Configuration: configuration(t, files)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if hasFile(files, "pebble") {
		t.Error("a datastore was made")
	}
}

// Stop works at any time, from many, and its work is done once.
func TestPeer_StopIsIdempotent(t *testing.T) {
	for name, start := range map[string]bool{"before start": false, "while it waits for IPFS": true} {
		t.Run(name, func(t *testing.T) {
			files := upstreamFiles(t, "crdt", "pebble", nobody(t))
			p, _ := newPeer(t, files)
			if start {
				noError(t, p.Start(t.Context()))
			}
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					if err := p.Stop(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			await.Closed(t, "the end", p.Done())
			if err := p.Start(t.Context()); !errors.Is(err, errStopped) {
				t.Errorf("a stopped peer starts: %v", err)
			}
			lock, err := Lock(files)
			noError(t, err)
			noError(t, lock.Close())
		})
	}
}

// Run ends when it is told to, and that is no failure.
func TestPeer_Run(t *testing.T) {
	p, seen := newPeer(t, upstreamFiles(t, "crdt", "pebble", noAPIs, nobody(t)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	await.Success(t, "waiting for IPFS", func() error { return seen.has(StageIPFS, "") })
	cancel()
	select {
	case err := <-ended:
		noError(t, err)
	case <-time.After(deadline):
		t.Fatal("Run goes on")
	}
	noError(t, seen.has(StageStopping, ""))
}
