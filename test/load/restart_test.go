package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// restart is what the starts with many pins were like.
type restart struct {
	pins                int
	imported            time.Duration // that importing the state took
	first               time.Duration // from the first start to ready
	pinned              time.Duration // from then until all were known to be pinned
	stopped, killed     time.Duration // from the start to ready, after either
	before, after, most int           // bytes resident: before the restarts, once ready, and the most meanwhile
}

// TestLoad_Restart starts the daemon with many pins that its IPFS node has: after
// an import of the state, after an orderly stop and after kill -9. All of them are
// there as soon as it is ready.
func TestLoad_Restart(t *testing.T) {
	h := harness.New(t)
	node := h.Kubo()
	rpc := node.FixRPCPort()
	node.Start()
	peer := newPeer(h, rpc)
	pinAll(t, node, *restarted)
	result := restart{pins: *restarted}
	began := time.Now()
	export := filepath.Join(h.Dir, "pins.json")
	writeExport(t, export, *restarted)
	peer.Command("state", "import", "--force", export)
	result.imported = time.Since(began)
	result.first = result.start(t, peer)
	began = time.Now()
	awaitPinned(t, peer, *restarted)
	result.pinned = time.Since(began)
	result.before = peer.Process().Resident()
	peer.Stop()
	result.stopped = result.start(t, peer)
	peer.Kill()
	result.killed = result.start(t, peer)
	t.Logf("%d pins (imported in %s): ready %s after the import, all pinned %s later; ready %s after a stop, %s after kill -9; "+
		"%d MiB before, %d MiB once ready, %d MiB at most", result.pins, result.imported.Round(time.Millisecond), result.first,
		result.pinned.Round(time.Millisecond), result.stopped, result.killed, result.before>>20, result.after>>20, result.most>>20)
	record.restart(result)
}

// start starts the peer and wants all pins once it is ready.
func (r *restart) start(t *testing.T, peer *harness.Peer) time.Duration {
	t.Helper()
	began := time.Now()
	peer.StartOnly()
	memory := watchMemory(t, peer.Process())
	harness.Eventually(t, harness.ReadyTimeout+time.Duration(*restarted)*time.Millisecond, "the peer is ready", peer.Ready)
	took := time.Since(began)
	list, err := peer.List("limit=1&status=queued,pinning,pinned,failed")
	if err != nil || list.Count != *restarted {
		t.Errorf("%d pins once it is ready, want %d: %v", list.Count, *restarted, err)
	}
	r.most = max(r.most, memory())
	r.after = peer.Process().Resident()
	return took.Round(time.Millisecond)
}

// perCall is how many pins one call of the node's RPC makes.
const perCall = 200

// pinAll pins the first n seeded CIDs in the node.
func pinAll(t *testing.T, node *harness.Kubo, n int) {
	t.Helper()
	addr, err := multiaddr.NewMultiaddr(node.RPC())
	if err != nil {
		t.Fatal(err)
	}
	_, host, err := manet.DialArgs(addr)
	if err != nil {
		t.Fatal(err)
	}
	each(4, (n+perCall-1)/perCall, func(call int) {
		args := url.Values{}
		for i := call * perCall; i < min(n, (call+1)*perCall); i++ {
			args.Add("arg", seeded(i))
		}
		resp, err := http.Post("http://"+host+"/api/v0/pin/add?"+args.Encode(), "", nil)
		if err != nil {
			t.Errorf("pinning in the IPFS node: %v", err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("pinning in the IPFS node: %s, %v", resp.Status, err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

// writeExport writes the first n seeded pins as "state export" does.
func writeExport(t *testing.T, path string, n int) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	out := bufio.NewWriter(file)
	lines := json.NewEncoder(out)
	for i := range n {
		c, err := cid.Decode(seeded(i))
		if err != nil {
			t.Fatal(err)
		}
		pin := api.PinWithOpts(api.NewCid(c), api.PinOptions{Name: fmt.Sprintf("seeded %d", i), ReplicationFactorMin: -1, ReplicationFactorMax: -1})
		pin.Timestamp = time.Now()
		if err := lines.Encode(pin); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Flush(), file.Sync()); err != nil {
		t.Fatal(err)
	}
}
