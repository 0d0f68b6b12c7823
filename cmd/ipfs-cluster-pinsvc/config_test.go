package main

import (
	"os"
	"strings"
	"testing"
)

func TestConfigCheck_IsFineWithWhatInitWrote(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"init", "init --consensus raft", "init --profile private --user alice", "init --ipfs /ip4/127.0.0.1/tcp/5001",
		"init --datastore badger", "init --datastore badger3", "init --datastore leveldb", "init --randomports",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.must(strings.Fields(args)...)
			if out := s.must("config", "check"); out != s.path("service.json")+" is fine.\n" {
				t.Errorf("says %q", out)
			}
		})
	}
	t.Run("by ipfs-cluster-service", func(t *testing.T) {
		t.Parallel()
		s := newShell(t)
		s.runBinary(upstream(t), "", "init")
		if out := s.must("config", "check"); out != s.path("service.json")+" is fine.\n" {
			t.Errorf("says %q", out)
		}
	})
}

func TestConfigCheck_ReportsEverything(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--user", "alice")
	s.edit(func(config object) {
		config.section("cluster")["connection_manager"].(map[string]any)["hi_water"] = 1
		config.section("cluster")["replication_factor_min"] = -7
		config.section("cluster")["mdns"] = "10s"
		config.section("api", "pinsvcapi")["read_timeout"] = "soon"
		config.section("api", "pinsvcapi")["http_listen_multiaddress"] = "nowhere"
		config.section("api", "pinsvcapi")["max_bodybytes"] = 1
		config.section("api", "pinsvcapi")["headers"] = map[string]any{"X-Any": []string{"name"}}
		config.section("api", "restapi")["idle_timeout"] = "later"
		config.section("api")["restful"] = map[string]any{}
		config.section("ipfs_connector", "managed")["storage_max"] = "much"
		config.section("ipfs_connector", "managed")["binarypath"] = "/bin/ipfs"
		config.section("consensus", "crdt")["rebroadcast_interval"] = "1m0s" // Known, though init does not write it.
		config["consenus"] = map[string]any{}
	})
	writeText(t, s.path("identity.json"), `{"id": "nobody"}`)
	r := s.run("config", "check")
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	// Each is reported once, and not in the log too.
	if strings.Contains(r.errOut, "read_timeout") || strings.Count(r.out, "read_timeout") != 1 {
		t.Errorf("standard error:\n%s\nstandard output:\n%s", r.errOut, r.out)
	}
	var faults, unknown []string
	for line := range strings.Lines(r.out) {
		if key, found := strings.CutPrefix(strings.TrimSpace(line), "unknown key: "); found {
			unknown = append(unknown, key)
		} else {
			faults = append(faults, line)
		}
	}
	for _, words := range [][]string{
		{"cluster", "replication_factor_min"},
		{"api.pinsvcapi", "read_timeout"},
		{"api.pinsvcapi", "http_listen_multiaddress"},
		{"api.restapi", "idle_timeout"},
		{"ipfs_connector.managed", "storage_max"},
		{"identity.json"},
	} {
		if !anyLineHas(faults, words...) {
			t.Errorf("no fault tells of %v:\n%s", words, r.out)
		}
	}
	want := "api.pinsvcapi.max_bodybytes api.restful cluster.connection_manager.hi_water cluster.mdns consenus " +
		"ipfs_connector.managed.binarypath"
	if got := strings.Join(unknown, " "); got != want {
		t.Errorf("unknown keys:\n%s\nwant:\n%s", got, want)
	}
}

func TestConfigCheck_Faults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(object)
		want string
	}{
		{"no consensus", func(c object) { delete(c, "consensus") }, "consensus.crdt"},
		{"two of them", func(c object) { c.section("consensus")["raft"] = map[string]any{} }, "consensus.raft"},
		{"no datastore", func(c object) { delete(c, "datastore") }, "datastore.pebble"},
		{"an empty password", func(c object) {
			c.section("api", "pinsvcapi")["basic_auth_credentials"] = map[string]any{"alice": ""}
		}, "basic_auth_credentials"},
		{"open to everyone", func(c object) {
			c.section("api", "pinsvcapi")["http_listen_multiaddress"] = "/ip4/0.0.0.0/tcp/9097"
		}, "allow_unauthenticated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.must("init")
			s.edit(c.edit)
			if r := s.run("config", "check"); r.code != 1 || !strings.Contains(r.out, c.want) {
				t.Errorf("exit code %d, want %q in\n%s", r.code, c.want, r.out)
			}
		})
	}
	t.Run("not JSON", func(t *testing.T) {
		t.Parallel()
		s := newShell(t)
		s.must("init")
		writeText(t, s.path("service.json"), "{\n\"cluster\": {\n,}\n}")
		if r := s.run("config", "check"); r.code != 1 || !strings.Contains(r.out, "line 3") {
			t.Errorf("exit code %d\n%s", r.code, r.out)
		}
	})
	t.Run("no identity", func(t *testing.T) {
		t.Parallel()
		s := newShell(t)
		s.must("init")
		if err := os.Remove(s.path("identity.json")); err != nil {
			t.Fatal(err)
		}
		if r := s.run("config", "check"); r.code != 1 || !strings.Contains(r.out, "identity.json") {
			t.Errorf("exit code %d\n%s", r.code, r.out)
		}
	})
	t.Run("only unknown keys", func(t *testing.T) {
		t.Parallel()
		s := newShell(t)
		s.must("init")
		s.edit(func(c object) { c["clutser"] = 1 })
		if r := s.run("config", "check"); r.code != 0 || r.out != "unknown key: clutser\n" {
			t.Errorf("exit code %d\n%s", r.code, r.out)
		}
	})
}

func anyLineHas(lines []string, words ...string) bool {
	for _, line := range lines {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}
