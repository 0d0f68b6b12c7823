package kubo

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConfigure_SettingsReachKubo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.StorageMax = "7GB"
	cfg.GCInterval = 42 * time.Minute
	cfg.SwarmAddresses = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	n := startNode(t, cfg)
	awaitRunning(t, n)
	for key, want := range map[string]string{
		"Datastore.StorageMax":  "7GB",
		"Datastore.GCPeriod":    "42m",
		"Addresses.API":         "/ip4/127.0.0.1/tcp/0",
		"Routing.Type":          "none",
		"Discovery.MDNS":        "{\n  \"Enabled\": false\n}",
		"Bootstrap":             "[]",
		"Addresses.Gateway":     "[]",
		"AutoNAT.ServiceMode":   "disabled",
		"Swarm.RelayClient":     "{\n  \"Enabled\": false\n}",
		"HTTPRetrieval.Enabled": "false",
	} {
		if got := ipfs(t, cfg, "config", key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if addrs := ipfs(t, cfg, "id", "-f", "<addrs>"); !strings.Contains(addrs, "/quic-v1") {
		t.Errorf("not listening as told: %s", addrs)
	}
}

func TestFreeSwarm_ReplacesAPortInUseForTCPAndUDP(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Profile = ProfileDefault
	kubos := stringList(prepared(t, cfg).get("Addresses.Swarm"))
	squatter, port := holdPort(t)
	n := idleNode(cfg)
	doc := kuboConfig(t, n.repo)
	old, _ := parseEndpoint(kubos[0])
	doc.set("Addresses.Swarm", withPort(kubos, old.port, port))
	if err := writeJSON(n.repo+"/"+configFile, doc); err != nil {
		t.Fatal(err)
	}
	moved := stringList(prepared(t, cfg).get("Addresses.Swarm"))
	first, _ := parseEndpoint(moved[0])
	if first.port == port || first.port == 0 {
		t.Fatalf("the port is still %d", first.port)
	}
	if want := withPort(kubos, old.port, first.port); !reflect.DeepEqual(moved, want) {
		t.Errorf("addresses %q, want %q", moved, want)
	}
	squatter.Close()
	if again := stringList(prepared(t, cfg).get("Addresses.Swarm")); !reflect.DeepEqual(again, moved) {
		t.Errorf("the next start moves again, to %q", again)
	}
}

func TestFreeSwarm_WaitsForAChosenPort(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	squatter, port := holdPort(t)
	cfg.SwarmAddresses = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)}
	n := startNode(t, cfg)
	awaitError(t, n, fmt.Sprintf("swarm port %d is in use", port), "swarm_addresses")
	squatter.Close()
	awaitRunning(t, n)
	if addrs := ipfs(t, cfg, "id", "-f", "<addrs>"); !strings.Contains(addrs, fmt.Sprintf("/tcp/%d/", port)) {
		t.Errorf("not listening where told: %s", addrs)
	}
}

// A fresh repo differs from what is wanted in many settings: one line tells.
func TestSummarizeChanges_OfAFreshRepoAreOneLine(t *testing.T) {
	change1, change2 := change{"Bootstrap", []any{"x"}, nil}, change{"Discovery.MDNS.Enabled", true, false}
	line1 := `Kubo's setting Bootstrap was ["x"] and is now not set`
	line2 := "Kubo's setting Discovery.MDNS.Enabled was true and is now false"
	for _, test := range []struct {
		changes       []change
		fresh         bool
		news, details []string
	}{
		{nil, true, nil, nil},
		{[]change{change1, change2}, false, []string{line1, line2}, nil},
		{[]change{change2}, true, []string{line2}, nil},
		{[]change{change1, change2}, true, []string{"2 of Kubo's settings were set for ipfs_connector.managed"}, []string{line1, line2}},
	} {
		news, details := summarizeChanges(test.changes, test.fresh)
		if !slices.Equal(news, test.news) || !slices.Equal(details, test.details) {
			t.Errorf("%v, fresh %t: %q and %q", test.changes, test.fresh, news, details)
		}
	}
}

func TestMigrateRepo_RefusesANewerRepoUntilItFits(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	repo := madeRepo(t, cfg)
	version := filepath.Join(repo, versionFile)
	was, err := os.ReadFile(version)
	if err != nil {
		t.Fatal(err)
	}
	write(t, version, "99\n")
	n := startNode(t, cfg)
	awaitError(t, n, "has version 99", cfg.BinaryPath+" can only use version "+strings.TrimSpace(string(was)), "binary_path")
	write(t, version, string(was))
	awaitRunning(t, n)
}

func TestMigrateRepo_MigratesOffline(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	repo := madeRepo(t, cfg)
	id := ipfs(t, cfg, "config", "Identity.PeerID")
	is, err := repoVersion(repo)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(repo, versionFile), "17\n")
	awaitRunning(t, startNode(t, cfg))
	if now, err := repoVersion(repo); err != nil || now != is {
		t.Errorf("version %d (%v) after the migration, want %d", now, err, is)
	}
	if got := ipfs(t, cfg, "config", "Identity.PeerID"); got != id {
		t.Errorf("peer ID %s, was %s", got, id)
	}
}

func TestMigrateRepo_RunsNoProgramsFromTheNetwork(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	repo := madeRepo(t, cfg)
	write(t, filepath.Join(repo, versionFile), "12")
	awaitError(t, startNode(t, cfg), "has version 12", "network", "ipfs-cluster-pinsvc ipfs repo migrate")
}
