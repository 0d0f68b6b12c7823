package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// managedNode makes the peer run a private Kubo of its own.
func managedNode(t *testing.T) edit {
	t.Helper()
	program, err := filepath.Abs("../../bin/ipfs")
	noError(t, err)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%s: build it with \"make bin/ipfs\"", err)
	}
	return with("ipfs_connector", "managed", map[string]any{
		"profile": kubo.ProfilePrivate, "binary_path": program, "restart_delay_min": "100ms",
	})
}

func bootstrapTo(p *Peer) func(*Options) {
	return func(o *Options) {
		for _, addr := range p.network.host.Addrs() {
			o.Bootstraps = append(o.Bootstraps, addr.Encapsulate(ma.StringCast("/p2p/"+p.ID().String())))
		}
	}
}

// request sends one and decodes the answer's JSON.
func request(method, url, contentType string, body io.Reader, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, content)
	}
	return json.Unmarshal(content, answer)
}

// rpcURL is the RPC of a peer's managed node.
func rpcURL(t *testing.T, p *Peer) string {
	t.Helper()
	addr, runs := p.IPFS().APIAddr()
	if !runs {
		t.Fatal("the managed node does not run")
	}
	_, hostport, err := manet.DialArgs(addr)
	noError(t, err)
	return "http://" + hostport + "/api/v0"
}

// addUnpinned adds content to the managed node of a peer and tells its CID.
func addUnpinned(t *testing.T, p *Peer, content string) string {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", "content")
	noError(t, err)
	_, err = io.WriteString(part, content)
	noError(t, err)
	noError(t, w.Close())
	var added struct{ Hash string }
	noError(t, request(http.MethodPost, rpcURL(t, p)+"/add?pin=false&cid-version=1", w.FormDataContentType(), &form, &added))
	return added.Hash
}

type (
	nodeID struct {
		ID        string
		Addresses []string
	}
	pinStatus struct{ RequestID, Status string }
)

// freeAddr is an address that nobody listened on a moment ago, for upstream's
// components, which do not tell where they listen.
func freeAddr(t *testing.T) ma.Multiaddr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer listener.Close()
	addr, err := manet.FromNetAddr(listener.Addr())
	noError(t, err)
	return addr
}

// Two private peers in CRDT, each with a Kubo of its own, replicate a pin that
// a client makes at one of them; one survives that its Kubo is killed, and
// upstream's proxy follows it.
func TestPeer_TwoReplicateAPin(t *testing.T) {
	secret := func(sections map[string]map[string]any) { sections["cluster"]["secret"] = strings.Repeat("ef", 32) }
	proxied := freeAddr(t)
	start := func(proxy ma.Multiaddr, options ...func(*Options)) (*Peer, *events) {
		p, seen := newPeer(t, upstreamFiles(t, "crdt", "pebble", secret, managedNode(t),
			func(sections map[string]map[string]any) {
				sections["api"]["ipfsproxy"].(map[string]any)["listen_multiaddress"] = proxy.String()
			}), options...)
		noError(t, p.Start(t.Context()))
		return p, seen
	}
	first, seen := start(proxied)
	second, _ := start(freeAddr(t), bootstrapTo(first))
	await.Closed(t, "readiness of the first", first.Ready())
	await.Closed(t, "readiness of the second", second.Ready())
	noError(t, seen.has(StageIPFS, "the IPFS node is not running yet"))
	var answer map[string]any
	for _, p := range []*Peer{first, second} { // CRDT knows no leader, and needs none.
		noError(t, errors.Join((componentHealth{p}).Consensus(), (componentHealth{p}).IPFS()))
		noError(t, request(http.MethodGet, "http://"+p.PinsvcAddrs()[0]+"/ready", "", nil, &answer))
	}

	cid := addUnpinned(t, first, "replicated")
	var source nodeID
	noError(t, request(http.MethodPost, rpcURL(t, first)+"/id", "", nil, &source))
	body, err := json.Marshal(map[string]any{"cid": cid, "name": "here and there", "origins": source.Addresses})
	noError(t, err)
	var pin pinStatus
	noError(t, request(http.MethodPost, "http://"+first.PinsvcAddrs()[0]+"/pins", "application/json", bytes.NewReader(body), &pin))
	for name, p := range map[string]*Peer{"first": first, "second": second} {
		await.Success(t, "pinned at the "+name, func() error {
			var keys struct{ Keys map[string]any }
			err := request(http.MethodPost, rpcURL(t, p)+"/pin/ls?type=recursive&arg="+cid, "", nil, &keys)
			if err == nil && len(keys.Keys) != 1 {
				err = fmt.Errorf("pins: %v", keys.Keys)
			}
			return err
		})
	}
	await.Success(t, "the second peer to say so", func() error {
		var got pinStatus
		err := request(http.MethodGet, "http://"+second.PinsvcAddrs()[0]+"/pins/"+pin.RequestID, "", nil, &got)
		if err == nil && got.Status != "pinned" {
			err = fmt.Errorf("status %s", got.Status)
		}
		return err
	})

	killed := first.IPFS().Status()
	process, err := os.FindProcess(killed.PID)
	noError(t, err)
	noError(t, process.Kill())
	await.Success(t, "a new Kubo", func() error {
		if status := first.IPFS().Status(); status.State != kubo.StateRunning || status.PID == killed.PID {
			return fmt.Errorf("%s, PID %d", status.State, status.PID)
		}
		return nil
	})
	_, proxy, err := manet.DialArgs(proxied)
	noError(t, err)
	for what, url := range map[string]string{"the node": rpcURL(t, first), "the proxy": "http://" + proxy + "/api/v0"} {
		await.Success(t, what+" to answer as before", func() error {
			var id nodeID
			err := request(http.MethodPost, url+"/id", "", nil, &id)
			if err == nil && id.ID != source.ID {
				err = fmt.Errorf("node %s, want %s", id.ID, source.ID)
			}
			return err
		})
	}
	await.Success(t, "the cluster to see the node", func() error {
		id := first.cluster.ID(t.Context())
		if id.IPFS.Error != "" {
			return fmt.Errorf("unreachable: %s", id.IPFS.Error)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	node := first.IPFS()
	noError(t, first.Stop(ctx))
	select {
	case <-node.Done():
	case <-time.After(deadline):
		t.Error("the Kubo of a stopped peer runs on")
	}
}
