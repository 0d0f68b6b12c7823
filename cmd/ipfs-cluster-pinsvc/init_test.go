package main

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	peerID      = "12D3KooWRN8KRjpyg9rsW2w7StbBRGper65psTZm68cjud9KAkaW"
	otherPeerID = "12D3KooWPwrYNj7VficHw5qYidepMGA85756kYgMdNmRM9A1ZHjN"
	peerAddress = "/ip4/192.168.0.129/tcp/9196/p2p/" + peerID
	otherPeer   = "/ip4/192.168.0.129/tcp/9196/p2p/" + otherPeerID
)

func TestInit_WritesPrivateFiles(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.run("init")
	for _, name := range []string{"service.json", "identity.json", "peerstore"} {
		info, err := os.Stat(s.path(name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: want mode 0600, got %v, %v", name, info, err)
		}
		if !strings.Contains(r.errOut, s.path(name)) {
			t.Errorf("%s is not named:\n%s", name, r.errOut)
		}
	}
	if info, err := os.Stat(s.path("")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: want mode 0700, got %v, %v", info, err)
	}
	if files := glob(t, s.path("*")); len(files) != 3 {
		t.Errorf("more than the three files: %v", files)
	}
	if r.out != "" {
		t.Errorf("on standard output: %q", r.out)
	}
}

// Of all that ipfs-cluster-service writes, ours has everything; other values
// only where they are made at random or are ours to set.
func TestInit_WritesWhatUpstreamWrites(t *testing.T) {
	t.Parallel()
	theirs := upstream(t)
	for _, args := range [][]string{
		{"init"},
		{"init", "--consensus", "raft"},
		{"init", "--datastore", "badger"},
		{"init", "--datastore", "badger3"},
		{"init", "--datastore", "leveldb"},
		{"init", "--peers", peerAddress + "," + otherPeer},
		{"init", "--peers", peerAddress, "--consensus", "raft"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			a, b := newShell(t), newShell(t)
			if r := a.runBinary(theirs, "", args...); r.code != 0 {
				t.Fatalf("ipfs-cluster-service: %s", r.errOut)
			}
			b.must(args...)
			want, got := a.readConfig(), b.readConfig()
			for _, config := range []object{want, got} {
				delete(config.section("cluster"), "secret")
				maps.DeleteFunc(config.section("api", "pinsvcapi"), func(key string, _ any) bool {
					return strings.HasPrefix(key, "cors_") // Upstream's defaults keep browsers out.
				})
			}
			if got.at("ipfs_connector", "managed") == nil {
				t.Error("no managed IPFS node")
			}
			if missing := missingIn(map[string]any(want), map[string]any(got), ""); len(missing) != 0 {
				t.Errorf("not as ipfs-cluster-service wrote it: %v", missing)
			}
			if x, y := readText(t, a.path("peerstore")), readText(t, b.path("peerstore")); sorted(x) != sorted(y) {
				t.Errorf("peerstore is %q, want %q", y, x)
			}
			if got.at("cluster", "secret") == want.at("cluster", "secret") && got.at("cluster", "secret") != nil {
				t.Error("the secret is not a new one")
			}
		})
	}
}

func sorted(lines string) string { return strings.Join(slices.Sorted(strings.Lines(lines)), "") }

// missingIn lists what of want is not the same in got; more is no fault,
// save for the choice of consensus and datastore.
func missingIn(want, got any, path string) []string {
	inner, ok := want.(map[string]any)
	other, same := got.(map[string]any)
	if !ok || !same {
		if reflect.DeepEqual(want, got) {
			return nil
		}
		return []string{fmt.Sprintf("%s is %v, not %v", path, got, want)}
	}
	var missing []string
	for key, value := range inner {
		missing = append(missing, missingIn(value, other[key], path+"."+key)...)
	}
	if (path == ".consensus" || path == ".datastore") && len(other) != len(inner) {
		missing = append(missing, fmt.Sprintf("%s has %v", path, slices.Collect(maps.Keys(other))))
	}
	return missing
}

func TestInit_OverwritesOnlyWithForceOrAYes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, stdin string
		args        []string
		overwritten bool
	}{
		{"no answer", "", []string{"init"}, false},
		{"empty line", "\n", []string{"init"}, false},
		{"n", "n\n", []string{"init"}, false},
		{"no", "no\n", []string{"init"}, false},
		{"neither, three times", "perhaps\nlater\nsoon\ny\n", []string{"init"}, false},
		{"y", "y\n", []string{"init"}, true},
		{"Y without an end", "Y", []string{"init"}, true},
		{"yes", "yes\n", []string{"init"}, true},
		{"neither, then y", "perhaps\ny\n", []string{"init"}, true},
		{"-f", "", []string{"init", "-f"}, true},
		{"--force", "", []string{"init", "--force"}, true},
		{"--force before the command", "", []string{"--force", "init"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.must("init", "--peers", peerAddress)
			config, identity := readText(t, s.path("service.json")), readText(t, s.path("identity.json"))
			r := s.answer(c.stdin, c.args...)
			if r.code != 0 {
				t.Errorf("exit code %d: %s", r.code, r.errOut)
			}
			asked := strings.Contains(r.out, "will be overwritten. Continue? [y/n]: ")
			if asked == slices.ContainsFunc(c.args, func(arg string) bool { return strings.HasPrefix(arg, "-") }) {
				t.Errorf("asked: %v\n%s", asked, r.out)
			}
			if got := readText(t, s.path("service.json")) != config; got != c.overwritten {
				t.Errorf("configuration overwritten: %v, want %v", got, c.overwritten)
			}
			if got := readText(t, s.path("peerstore")) == ""; got != c.overwritten {
				t.Errorf("peerstore overwritten: %v, want %v", got, c.overwritten)
			}
			if readText(t, s.path("identity.json")) != identity {
				t.Error("the identity was overwritten")
			}
		})
	}
}

func TestInit_FailureLeavesTheConfigurationAlone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	before := readText(t, s.path("service.json"))
	for _, args := range []string{"--consensus paxos", "--user a:b", "--ipfs here", "--peers /ip4/1.2.3.4/tcp/1"} {
		if r := s.run(append([]string{"init", "-f"}, strings.Fields(args)...)...); r.code != 1 {
			t.Errorf("%s: exit code %d", args, r.code)
		}
	}
	t.Run("bad environment", func(t *testing.T) {
		s.env = append(s.env, "CLUSTER_REPLICATIONFACTORMIN=many")
		if r := s.run("init", "-f"); r.code != 1 || !strings.Contains(r.errOut, "environment") {
			t.Errorf("exit code %d: %s", r.code, r.errOut)
		}
	})
	if readText(t, s.path("service.json")) != before {
		t.Error("the configuration changed")
	}
	if files := glob(t, s.path("*.tmp")); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestInit_Users(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.run("init", "--user", "alice", "--user", "bob")
	credentials := s.readConfig().section("api", "pinsvcapi", "basic_auth_credentials")
	if len(credentials) != 2 || credentials["alice"] == credentials["bob"] {
		t.Fatalf("credentials are %v", credentials)
	}
	for user, password := range credentials {
		text, _ := password.(string)
		if !regexp.MustCompile(`^[A-Z2-7]{26,}$`).MatchString(text) {
			t.Errorf("%s has the password %q", user, text)
		}
		if strings.Contains(r.out+r.errOut, text) {
			t.Errorf("the password is printed:\n%s\n%s", r.out, r.errOut)
		}
		if !strings.Contains(r.out, "User "+user+" has a new password, written to "+s.path("service.json")) ||
			!strings.Contains(r.out, "token --user "+user+"\n") {
			t.Errorf("it is not said where the password of %s is:\n%s", user, r.out)
		}
	}
	if strings.Contains(r.errOut, "no users") {
		t.Errorf("says that there are no users:\n%s", r.errOut)
	}
}

func TestInit_WithoutUsersIsReported(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.run("init")
	if got := s.readConfig().at("api", "pinsvcapi", "basic_auth_credentials"); got != nil {
		t.Errorf("credentials are %v", got)
	}
	if !strings.Contains(r.errOut, "has no users") {
		t.Errorf("it does not say that anyone may use it:\n%s", r.errOut)
	}
}

func TestInit_TakesTheEnvironment(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("ab", 32)
	s := newShell(t,
		"CLUSTER_SECRET="+secret, "CLUSTER_PEERNAME=ada",
		"CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS=/ip4/127.0.0.1/tcp/7001",
		"CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS=alice:from-the-environment",
		"CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS=/ip4/127.0.0.1/tcp/7002",
		"CLUSTER_IPFSHTTP_NODEMULTIADDRESS=/ip4/127.0.0.1/tcp/7003",
	)
	r := s.run("init", "--user", "alice", "--user", "bob")
	config := s.readConfig()
	for path, want := range map[string]any{
		"cluster.secret":                                secret,
		"cluster.peername":                              "ada",
		"api.restapi.http_listen_multiaddress":          "/ip4/127.0.0.1/tcp/7001",
		"api.pinsvcapi.http_listen_multiaddress":        "/ip4/127.0.0.1/tcp/7002",
		"api.pinsvcapi.basic_auth_credentials.alice":    "from-the-environment",
		"ipfs_connector.ipfshttp.node_multiaddress":     "/ip4/127.0.0.1/tcp/7003",
		"ipfs_connector.managed":                        nil, // Whoever sets the address has a node.
		"api.pinsvcapi.basic_auth_credentials.nonesuch": nil,
	} {
		if got := config.at(strings.Split(path, ".")...); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if strings.Contains(r.out+r.errOut, "from-the-environment") || !strings.Contains(r.out, "that the environment sets") {
		t.Errorf("the environment's password is not new and not to be shown:\n%s", r.out)
	}
}

func TestInit_IPFSNode(t *testing.T) {
	t.Parallel()
	const address = "/ip4/10.0.0.1/tcp/5001"
	for _, c := range []struct {
		args    string
		managed bool
		node    string
	}{
		{"init", true, "/ip4/127.0.0.1/tcp/5001"},
		{"init --ipfs managed", true, "/ip4/127.0.0.1/tcp/5001"},
		{"init --ipfs " + address, false, address},
		{"init --profile private --ipfs " + address, false, address},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.must(strings.Fields(c.args)...)
			config := s.readConfig()
			if got := config.at("ipfs_connector", "managed") != nil; got != c.managed {
				t.Errorf("managed: %v, want %v", got, c.managed)
			}
			if got := config.at("ipfs_connector", "ipfshttp", "node_multiaddress"); got != c.node {
				t.Errorf("the node is %v, want %v", got, c.node)
			}
			if got := config.at("api", "ipfsproxy", "node_multiaddress"); got != c.node {
				t.Errorf("the proxy's node is %v, want %v", got, c.node)
			}
		})
	}
}

func TestInit_PrivateStaysOnThisMachine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--profile", "private")
	config := s.readConfig()
	for path, want := range map[string]any{
		"cluster.mdns_interval":          "0s",
		"cluster.enable_relay_hop":       false,
		"ipfs_connector.managed.profile": "private",
	} {
		if got := config.at(strings.Split(path, ".")...); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	for _, path := range []string{
		"cluster.listen_multiaddress", "api.restapi.http_listen_multiaddress",
		"api.pinsvcapi.http_listen_multiaddress", "api.ipfsproxy.listen_multiaddress",
	} {
		if text := fmt.Sprint(config.at(strings.Split(path, ".")...)); !strings.Contains(text, "127.0.0.1") || strings.Contains(text, "0.0.0.0") {
			t.Errorf("%s is %s", path, text)
		}
	}
}

func TestInit_RandomPorts(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--randomports")
	config := s.readConfig()
	for path, usual := range map[string]string{
		"cluster.listen_multiaddress": "9096", "api.restapi.http_listen_multiaddress": "9094",
		"api.pinsvcapi.http_listen_multiaddress": "9097", "api.ipfsproxy.listen_multiaddress": "9095",
	} {
		text := fmt.Sprint(config.at(strings.Split(path, ".")...))
		if strings.Contains(text, "/"+usual) || strings.Contains(text, "/tcp/0") || !strings.Contains(text, "/tcp/") {
			t.Errorf("%s is %s", path, text)
		}
	}
}

func TestInit_CustomSecret(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("0f", 32)
	for _, c := range []struct {
		name, stdin string
		code        int
		want        any
	}{
		{"given", secret + "\n", 0, secret},
		{"given without an end", secret, 0, secret},
		{"empty, which is an open cluster", "\n", 0, ""},
		{"too short", "0f0f\n", 1, nil},
		{"not hexadecimal", strings.Repeat("zz", 32) + "\n", 1, nil},
		{"none", "", 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			if r := s.answer(c.stdin, "init", "-s"); r.code != c.code {
				t.Fatalf("exit code %d: %s", r.code, r.errOut)
			}
			if c.code != 0 {
				if files := glob(t, s.path("*.json")); len(files) != 0 {
					t.Errorf("written: %v", files)
				}
				return
			}
			if got := s.readConfig().at("cluster", "secret"); got != c.want {
				t.Errorf("the secret is %v", got)
			}
		})
	}
	t.Run("after a yes", func(t *testing.T) {
		t.Parallel()
		s := newShell(t)
		s.must("init")
		if r := s.answer("y\n"+secret+"\n", "init", "--custom-secret"); r.code != 0 {
			t.Fatalf("exit code %d: %s", r.code, r.errOut)
		}
		if got := s.readConfig().at("cluster", "secret"); got != secret {
			t.Errorf("the secret is %v", got)
		}
	})
}
