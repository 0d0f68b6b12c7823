package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/ipfsconn/ipfshttp"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

func newTestConnector(t *testing.T, n node) *managedConnector {
	t.Helper()
	cfg := &ipfshttp.Config{}
	noError(t, cfg.Default())
	cfg.ConnectSwarmsDelay = 0
	return newManagedConnector(n, cfg)
}

// rpcOfID serves the part of a node's RPC that tells its ID.
func rpcOfID(t *testing.T, id string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v0/id" {
			http.NotFound(w, r)
			return
		}
		writeID(w, id)
	}))
	t.Cleanup(server.Close)
	return server
}

func writeID(w http.ResponseWriter, id string) {
	fmt.Fprintf(w, `{"ID":%q,"Addresses":["/ip4/127.0.0.1/tcp/4001/p2p/%s"]}`, id, id)
}

const (
	firstID  = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	secondID = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
)

// While the node is away every request fails with the reason, and those that
// stream do not leave the other side waiting.
func TestManagedConnector_WithoutNode(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := newTestConnector(t, newScriptedNode())
	defer func() { noError(t, c.Shutdown(context.Background())) }()
	c.SetClient(&rpc.Client{})
	ctx := context.Background()
	pins := make(chan api.IPFSPinInfo)
	blocks := make(chan api.NodeWithMeta)
	for name, call := range map[string]func() error{
		"ID":          func() error { _, err := c.ID(ctx); return err },
		"Pin":         func() error { return c.Pin(ctx, api.Pin{}) },
		"Unpin":       func() error { return c.Unpin(ctx, api.CidUndef) },
		"PinLsCid":    func() error { _, err := c.PinLsCid(ctx, api.Pin{}); return err },
		"PinLs":       func() error { return c.PinLs(ctx, []string{"recursive"}, pins) },
		"Swarms":      func() error { return c.ConnectSwarms(ctx) },
		"SwarmPeers":  func() error { _, err := c.SwarmPeers(ctx); return err },
		"ConfigKey":   func() error { _, err := c.ConfigKey("Datastore/StorageMax"); return err },
		"RepoStat":    func() error { _, err := c.RepoStat(ctx); return err },
		"RepoGC":      func() error { _, err := c.RepoGC(ctx); return err },
		"Resolve":     func() error { _, err := c.Resolve(ctx, "/ipfs/x"); return err },
		"BlockStream": func() error { return c.BlockStream(ctx, blocks) },
		"BlockGet":    func() error { _, err := c.BlockGet(ctx, api.CidUndef); return err },
	} {
		// Trackers tell other peers the text alone. It has to read like that
		// of any IPFS node that does not answer, or the pin seems to fail.
		if err := call(); !errors.Is(err, errNotRunning) || !strings.Contains(err.Error(), "IPFS request failed (is it running?)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, open := <-pins; open {
		t.Error("PinLs sent something")
	}
	blocks <- api.NodeWithMeta{} // Somebody reads them.
	close(blocks)
	select {
	case <-c.Ready(ctx):
		t.Error("ready without a node")
	default:
	}
	if _, err := c.ID(ctx); !strings.Contains(err.Error(), "making the IPFS repo") {
		t.Errorf("the error does not say what the node is doing: %v", err)
	}
}

// The connector goes where the node goes, and says so when it is away.
func TestManagedConnector_FollowsTheNode(t *testing.T) {
	first, second := rpcOfID(t, firstID), rpcOfID(t, secondID)
	node := newScriptedNode()
	c := newTestConnector(t, node)
	ctx := context.Background()
	defer func() { noError(t, c.Shutdown(ctx)); noError(t, c.Shutdown(ctx)) }()

	has := func(want string) func() error {
		return func() error {
			id, err := c.ID(ctx)
			if err == nil && id.ID.String() != want {
				err = fmt.Errorf("the node is %s", id.ID)
			}
			return err
		}
	}
	isAway := func() error {
		if _, err := c.ID(ctx); !errors.Is(err, errNotRunning) {
			return fmt.Errorf("asked the node: %w", err)
		}
		return nil
	}
	node.set(runningAt(serverAddr(t, first)))
	c.SetClient(&rpc.Client{})
	await.Closed(t, "readiness", c.Ready(ctx))
	await.Success(t, "first address", has(firstID))

	node.set(kubo.Status{State: kubo.StateRestarting, APIAddr: serverAddr(t, first), Err: "Kubo ended"})
	await.Success(t, "away", isAway)
	node.set(runningAt(serverAddr(t, first)))
	await.Success(t, "first address again", has(firstID))

	node.set(runningAt(serverAddr(t, second)))
	await.Success(t, "second address", has(secondID))
}

// The client of the cluster may come before the node's address.
func TestManagedConnector_ReadyWhenTheNodeIsLate(t *testing.T) {
	node := newScriptedNode()
	c := newTestConnector(t, node)
	defer func() { noError(t, c.Shutdown(context.Background())) }()
	c.SetClient(&rpc.Client{})
	node.set(runningAt(serverAddr(t, rpcOfID(t, firstID))))
	await.Closed(t, "readiness", c.Ready(context.Background()))
}
