// Package integration drives real peers, as processes, with real clients.
package integration

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// The tests mostly wait for processes.
func TestMain(m *testing.M) { os.Exit(await.Run(m, 4)) }

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

// want fails the test when the reply has another status or does not say text.
func want(t *testing.T, r harness.Reply, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(string(r.Body), text) {
		t.Errorf("want %d %s with %q, got %d %s", status, http.StatusText(status), text, r.Status, r.Body)
	}
}
