package clusterrpc_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// One user guesses CIDs on many connections while the peer to ask does not answer; another one reads
// a pin that is there, without waiting for any of the guesses.
func TestGuesses_LeaveOtherReadsAlone(t *testing.T) {
	cfg := config.NewConfig()
	if err := cfg.Default(); err != nil {
		t.Fatal(err)
	}
	addr, err := multiaddr.NewMultiaddr("/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTPListenAddr = []multiaddr.Multiaddr{addr}
	cfg.BasicAuthCredentials = map[string]string{"mallory": "m", "alice": "a"}
	cfg.MaxConcurrentRequests = config.MinConcurrency
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	opts := pinsvcapi.BackendOptions(cfg)
	opts.ActivePollInterval = time.Second
	opts.Leader = func(context.Context) (peer.ID, error) { return "a peer that is gone", nil }
	s := service{newBackend(t, p, opts), t, p}
	s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	api, err := pinsvcapi.NewAPI(t.Context(), cfg, pinsvcapi.Options{NewBackend: func(*rpc.Client) pinsvcapi.Backend { return s.Backend }})
	if err != nil {
		t.Fatal(err)
	}
	api.SetClient(nil)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	client := &http.Client{Transport: transport}
	defer func() {
		transport.CloseIdleConnections()
		if err := api.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	get := func(user string, n int) int {
		url := "http://" + api.HTTPAddresses()[0] + "/pins/" + pinsvctest.RawCID(n).String()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		r.SetBasicAuth(user, user[:1])
		resp, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		return resp.StatusCode
	}

	const guessers = 3 * config.MinConcurrency
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	statuses := make(chan int, 1000)
	for g := range guessers {
		wg.Go(func() {
			for n := 1000 * (g + 1); !stop.Load(); n++ {
				select {
				case statuses <- get("mallory", n):
				default: // Enough is known.
				}
			}
		})
	}
	for range guessers {
		if status := <-statuses; status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
			t.Errorf("a guess is %d", status)
		}
	}
	var took []time.Duration
	for range 21 {
		began := time.Now()
		if status := get("alice", 1); status != http.StatusOK {
			t.Fatalf("a pin that is there is %d", status)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("a read takes %s, at most %s", took[len(took)/2], took[len(took)-1])
	if median := took[len(took)/2]; median > time.Second {
		t.Errorf("a read of a pin that is there takes %s", median)
	}
}
