package load

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

const users = 100

func userName(i int) string { return fmt.Sprintf("user%02d", i%users) }

// password is one that nobody is warned about.
func password(i int) string { return "password of " + userName(i) }

// inline is a CID that has its content in itself, so that every node has it.
func inline(text string) string {
	hash, err := multihash.Encode([]byte(text), multihash.IDENTITY)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, hash).String()
}

func seeded(i int) string { return inline(fmt.Sprintf("seeded %d", i)) }

// requestTimeout is when a client gives up.
const requestTimeout = 30 * time.Second

// client sends the requests of one step over its own connections.
type client struct {
	http *http.Client
	url  string
}

func newClient(url string, connections int) *client {
	return &client{url: url, http: &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, MaxIdleConns: connections,
		},
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// failed is the status of a request without a response.
const failed = 0

// send sends a request as a user and returns the status and how long the response
// took to its last byte.
func (c *client) send(ctx context.Context, user int, method, path, body string) (status int, took time.Duration) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return failed, 0
	}
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(userName(user)+":"+password(user))))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	start := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return failed, time.Since(start)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return failed, time.Since(start)
	}
	return resp.StatusCode, time.Since(start)
}

// each calls work for 0 to n-1 by many goroutines.
func each(workers, n int, work func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range next {
				work(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// seed makes n pins and waits until all are pinned.
func seed(t *testing.T, p *harness.Peer, n int) {
	t.Helper()
	c := newClient(p.Endpoint(), 64)
	defer c.close()
	var mu sync.Mutex
	var refused []int
	each(64, n, func(i int) {
		body := fmt.Sprintf(`{"cid":%q,"name":"seeded %d"}`, seeded(i), i)
		if status, _ := c.send(t.Context(), i, http.MethodPost, "/pins", body); status != http.StatusAccepted {
			mu.Lock()
			refused = append(refused, status)
			mu.Unlock()
		}
	})
	if len(refused) > 0 {
		t.Fatalf("%d of %d POSTs were refused: %v", len(refused), n, refused[:min(10, len(refused))])
	}
	awaitPinned(t, p, n)
}

// awaitPinned waits until so many pins are pinned.
func awaitPinned(t *testing.T, p *harness.Peer, n int) {
	t.Helper()
	patience := harness.CommandTimeout + time.Duration(n)*20*time.Millisecond
	harness.Eventually(t, patience, fmt.Sprintf("%d pins are pinned", n), func() error {
		list, err := p.List("status=pinned&limit=1")
		if err == nil && list.Count != n {
			err = fmt.Errorf("%d are", list.Count)
		}
		return err
	})
}

// percentile of sorted times.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

func sortTimes(times []time.Duration) []time.Duration {
	slices.Sort(times)
	return times
}
