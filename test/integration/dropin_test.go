package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v4"
	"github.com/ipfs-cluster/ipfs-cluster/cmdutils"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// writeUpstream writes service.json and identity.json with the packages of
// ipfs-cluster 1.1.6, as `ipfs-cluster-service init` does, and returns the
// bytes of both.
func writeUpstream(t *testing.T, peer *harness.Peer, consensus, ipfs string) map[string][]byte {
	t.Helper()
	if err := os.MkdirAll(peer.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	paths := []string{filepath.Join(peer.Dir, "service.json"), filepath.Join(peer.Dir, "identity.json")}
	helper := cmdutils.NewConfigHelper(paths[0], paths[1], consensus, "pebble")
	defer helper.Manager().Shutdown()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(helper.Manager().Default())
	must(helper.Identity().Default())
	cfgs := helper.Configs()
	cfgs.Cluster.MDNSInterval = 0 // Upstream's default looks for peers in the local network.
	cfgs.Cluster.ListenAddr = []multiaddr.Multiaddr{freeAddress(t)}
	cfgs.Restapi.HTTPListenAddr = []multiaddr.Multiaddr{freeAddress(t)}
	cfgs.Pinsvcapi.HTTPListenAddr = []multiaddr.Multiaddr{freeAddress(t)}
	cfgs.Pinsvcapi.BasicAuthCredentials = map[string]string{"bob": "bob's password"}
	cfgs.Ipfsproxy.ListenAddr = []multiaddr.Multiaddr{freeAddress(t)}
	node, err := multiaddr.NewMultiaddr(ipfs)
	must(err)
	cfgs.Ipfshttp.NodeAddr, cfgs.Ipfsproxy.NodeAddr = node, node
	must(helper.SaveConfigToDisk())
	must(helper.SaveIdentityToDisk())
	peer.User, peer.Password = "bob", "bob's password"

	written := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		must(err)
		written[path] = b
	}
	return written
}

func freeAddress(t *testing.T) multiaddr.Multiaddr {
	t.Helper()
	addr, err := multiaddr.NewMultiaddr(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", harness.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestConfigurationOfIPFSClusterLoadsUnchangedAndServes(t *testing.T) {
	t.Parallel()
	for _, consensus := range []string{"crdt", "raft"} {
		t.Run(consensus, func(t *testing.T) {
			t.Parallel()
			h := harness.New(t)
			node := h.Kubo()
			node.Start()
			peer := h.EmptyPeer()
			written := writeUpstream(t, peer, consensus, node.RPC())

			peer.Start()
			c := node.Add("served by an old configuration")
			peer.WaitPinned(peer.Add(c, "old").RequestID)

			t.Run("a token that ipfs-cluster issued is good", func(t *testing.T) {
				token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "bob"}).SignedString([]byte(peer.Password))
				if err != nil {
					t.Fatal(err)
				}
				req, err := http.NewRequest(http.MethodGet, peer.Endpoint()+"/pins/"+c.String(), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+token)
				r, err := harness.Send(req)
				if err != nil {
					t.Fatal(err)
				}
				want(t, r, http.StatusOK, `"old"`)
			})
			t.Run("the REST API serves the same pins", func(t *testing.T) {
				req, err := http.NewRequest(http.MethodGet, peer.RESTEndpoint()+"/allocations/"+c.String(), nil)
				if err != nil {
					t.Fatal(err)
				}
				r, err := harness.Send(req)
				if err != nil {
					t.Fatal(err)
				}
				want(t, r, http.StatusOK, `"name":"old"`)
			})
			peer.Stop()
			for path, before := range written {
				after, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(before, after) {
					t.Errorf("%s has changed (%v):\n%s", filepath.Base(path), err, after)
				}
			}
		})
	}
}

// The steps of ipfs-cluster's own test scripts for `state`: what was exported
// comes back after a cleanup, byte for byte the same pin.
func TestStateExportCleanupImport(t *testing.T) {
	t.Parallel()
	for _, consensus := range []string{"crdt", "raft"} {
		t.Run(consensus, func(t *testing.T) {
			t.Parallel()
			h := harness.New(t)
			peer := h.Peer(harness.InitOptions{Args: []string{"--consensus", consensus}})
			export := filepath.Join(h.Dir, "export.json")
			peer.Start()
			first := peer.Add(unknown(t, ""), "exported")
			peer.Stop()

			peer.Command("state", "export", "-f", export)
			var record struct {
				CID  string `json:"cid"`
				Name string `json:"name"`
			}
			line, err := os.ReadFile(export)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(line, &record); err != nil || record.CID != first.Pin.CID || record.Name != "exported" {
				t.Errorf("the export is %s (%v)", line, err)
			}

			peer.Command("state", "cleanup", "-f")
			peer.Start()
			if page, err := peer.List("status=queued,pinning,pinned,failed"); err != nil || page.Count != 0 {
				t.Errorf("want no pins after the cleanup, got %v, %v", page, err)
			}
			peer.Stop()

			bad := filepath.Join(h.Dir, "bad.json")
			if err := os.WriteFile(bad, []byte("not exactly json"), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := peer.Try("state", "import", "-f", bad); r.ExitCode() != 1 {
				t.Errorf("importing nonsense: want exit code 1, got %v, %s", r.Err, r.Stderr)
			}
			peer.Command("state", "import", "-f", export)
			peer.Start()
			again, err := peer.Get(first.RequestID)
			if err != nil {
				t.Fatal(err)
			}
			if again.Pin.Name != "exported" || !again.Created.Equal(first.Created) {
				t.Errorf("exported %+v, imported %+v", first, again)
			}
		})
	}
}

func TestCommandLineAsBefore(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.EmptyPeer()

	t.Run("--help", func(t *testing.T) {
		out := peer.Command("--help")
		for _, command := range []string{"init", "daemon", "state", "version", "token", "config", "ipfs"} {
			if !strings.Contains(out, "\n     "+command) && !strings.Contains(out, "\n   "+command) {
				t.Errorf("the help does not name the command %q:\n%s", command, out)
			}
		}
	})
	t.Run("daemon without a configuration", func(t *testing.T) {
		r := peer.Try("daemon")
		if r.ExitCode() != 1 || !strings.Contains(r.Stderr, "init") {
			t.Errorf("want exit code 1 and a hint at init, got %v, %s", r.Err, r.Stderr)
		}
	})
	t.Run("init does not overwrite without a yes", func(t *testing.T) {
		peer.Command("init", "--profile", "private", "--user", "carol")
		path := filepath.Join(peer.Dir, "service.json")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		peer.TryStdin("no\n", "init", "--profile", "private")
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("a no has changed the configuration (%v)", err)
		}
		peer.TryStdin("yes\n", "init", "--profile", "private")
		after, err = os.ReadFile(path)
		if err != nil || bytes.Equal(before, after) {
			t.Errorf("a yes has not changed the configuration (%v)", err)
		}
	})
	t.Run("modes", func(t *testing.T) {
		for path, mode := range map[string]os.FileMode{
			peer.Dir:                                 0o700,
			filepath.Join(peer.Dir, "service.json"):  0o600,
			filepath.Join(peer.Dir, "identity.json"): 0o600,
		} {
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: want mode %v, got %v, %v", filepath.Base(path), mode, info, err)
			}
		}
	})
	t.Run("config check names unknown keys and faults", func(t *testing.T) {
		peer.Command("config", "check")
		peer.Edit(func(c harness.Section) {
			c.Section("api", "pinsvcapi").Set("no_such_key", 1)
			c.Section("api", "pinsvcapi").Set("read_timeout", "soon")
			c.Section("api", "pinsvcapi").Set("http_listen_multiaddress", "/ip4/nowhere")
		})
		r := peer.Try("config", "check")
		output := r.Stdout + r.Stderr
		for _, text := range []string{"no_such_key", "read_timeout", "http_listen_multiaddress"} {
			if r.Err == nil || !strings.Contains(output, text) {
				t.Errorf("want a failure that names %s, got %v:\n%s", text, r.Err, output)
			}
		}
	})
}
