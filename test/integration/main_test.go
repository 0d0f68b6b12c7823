// Package integration drives real peers, as processes, with real clients.
package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// The tests mostly wait for processes.
func TestMain(m *testing.M) { os.Exit(await.Run(m, 4)) }

// trueWithin is how long statuses may be wrong after the end of what made them so (docs/promises.md).
const trueWithin = 30 * time.Second

// requestTime is how long a request may take while something is out of order.
const requestTime = 10 * time.Second

// service is a peer with a managed Kubo, ready, and a Kubo node of a user who
// has added the service as "svc".
func service(t *testing.T) (*harness.Peer, *harness.Kubo) {
	t.Helper()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	client := h.Kubo()
	client.Start()
	client.AddService("svc", peer.Endpoint(), peer.Token())
	return peer, client
}

// unknown is the CID of content that nobody has.
func unknown(t *testing.T, seed string) cid.Cid {
	t.Helper()
	hash, err := multihash.Sum([]byte("nobody has this: "+t.Name()+seed), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// inline is a CID that has its content in itself, so that every node has it.
func inline(t *testing.T, content string) cid.Cid {
	t.Helper()
	hash, err := multihash.Sum([]byte(content), multihash.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// ask sends a request to a peer that has to arrive, whatever the answer.
func request(t *testing.T, p *harness.Peer, method, path string, body any) harness.Reply {
	t.Helper()
	r, err := p.Ask(method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// timed is request, and how long it took.
func timed(t *testing.T, peer *harness.Peer, method, path string, body any) (harness.Reply, time.Duration) {
	t.Helper()
	began := time.Now()
	r := request(t, peer, method, path, body)
	return r, time.Since(began)
}

// rows are what a peer lists: names and statuses by request ID.
func rows(peer *harness.Peer) (map[string]string, error) {
	page, err := peer.List("limit=1000&status=queued,pinning,pinned,failed")
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for _, row := range page.Results {
		all[row.RequestID] = row.Pin.Name + " " + row.Status
	}
	return all, nil
}

// lists is nil when a peer lists exactly that.
func lists(peer *harness.Peer, want map[string]string) error {
	got, err := rows(peer)
	if err == nil && !maps.Equal(got, want) {
		err = fmt.Errorf("%s lists %v, want %v", peer.Name, got, want)
	}
	return err
}

// trueAgain wants all peers to list exactly that within trueWithin of the end of a cause.
func trueAgain(t *testing.T, ended time.Time, want map[string]string, peers ...*harness.Peer) {
	t.Helper()
	for _, peer := range peers {
		harness.Eventually(t, time.Until(ended.Add(trueWithin)), "true statuses in time", func() error { return lists(peer, want) })
	}
	t.Logf("true %s after the end of the cause", time.Since(ended).Round(time.Millisecond))
}

// want fails the test when the reply has another status or does not say text.
func want(t *testing.T, r harness.Reply, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(string(r.Body), text) {
		t.Errorf("want %d %s with %q, got %d %s", status, http.StatusText(status), text, r.Status, r.Body)
	}
}
