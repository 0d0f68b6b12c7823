package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	pebbleds "github.com/ipfs/go-ds-pebble"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/multiformats/go-multiaddr"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// service is ours on a peer, with an IPFS stand-in.
type service struct {
	peer *clustertest.Peer
	url  string
	http *http.Client
}

const (
	// fetching is how long the stand-in takes for new content.
	fetching = 50 * time.Millisecond
	// batchAge lets changes wait for each other. Each commit leaves an entry
	// in caches of the cluster (64 Ki blocks, messages of two minutes): with
	// fewer commits it takes less than these to fill for a leak to be seen.
	batchAge = 200 * time.Millisecond
)

const (
	user     = "alice"
	password = "correct horse battery staple"
)

// newService starts the service with the commits of the daemon, or embedded in a daemon with the
// batches of ipfs-cluster-service.
func newService(t *testing.T, embedded bool) *service {
	t.Helper()
	node := clustertest.NewNode()
	node.SetDelay(fetching)
	peer := clustertest.Options{Node: node, Consensus: daemon.NewCRDT}
	opts := clusterrpc.Options{WaitsForCommit: true}
	if embedded {
		peer.Consensus, peer.BatchAge = nil, batchAge
		opts = clusterrpc.Options{BatchAge: batchAge}
	}
	cfg := config.NewConfig()
	if err := cfg.Default(); err != nil {
		t.Fatal(err)
	}
	addr, err := multiaddr.NewMultiaddr("/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTPListenAddr = []multiaddr.Multiaddr{addr}
	cfg.BasicAuthCredentials = map[string]string{user: password}
	var events *watch.Tracker
	api, err := pinsvcapi.NewAPI(t.Context(), cfg, pinsvcapi.Options{
		NewBackend: func(client *rpc.Client) pinsvcapi.Backend {
			opts.Events = events
			return clusterrpc.New(client, opts)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Shutdown(context.Background()) })
	s := &service{
		url:  "http://" + api.HTTPAddresses()[0],
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	// The state of a peer grows with every change that was ever made, so it
	// must not be in memory here.
	store, err := pebbleds.NewDatastore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	peer.Datastore, peer.APIs = store, []ipfscluster.API{api}
	peer.OnTracker = func(h *watch.Tracker) { events = h }
	s.peer = clustertest.Start(t, 1, peer)[0]
	s.eventually(t, "the service is ready", func() error {
		return s.request(t.Context(), http.MethodGet, "/ready", nil, nil)
	})
	return s
}

// refusal is an answer that is no 2xx.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %.200s", r.status, r.text) }

// ask sends a request and decodes the answer into out, if that is not nil.
func (s *service) request(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %w", method, path, &refusal{resp.StatusCode, string(data)})
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// list asks for a page.
func (s *service) list(ctx context.Context, query string) (pinsvc.PinResults, error) {
	var page pinsvc.PinResults
	err := s.request(ctx, http.MethodGet, "/pins?"+query, nil, &page)
	return page, err
}

// eventually waits until check returns nil.
func (s *service) eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it never comes that %s: %v", what, err)
		}
	}
}
