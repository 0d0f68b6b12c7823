package kubo

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDelayDoublesUpToItsBound(t *testing.T) {
	t.Parallel()
	b := backoff{min: time.Second, max: 5 * time.Second}
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		if got := b.next(); got != want*time.Second {
			t.Errorf("delay %s, want %s", got, want*time.Second)
		}
	}
	b.reset()
	if got := b.next(); got != time.Second {
		t.Errorf("delay %s after a stable run", got)
	}
}

func TestRingKeepsTheLastLines(t *testing.T) {
	t.Parallel()
	r := newRing(3)
	for _, text := range []string{"a\nb", "c\n\n  d  \n", "e\r\nf\n", "unended"} {
		if n, err := r.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	if got, want := r.last(), []string{"d", "e", "f", "unended"}; !reflect.DeepEqual(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	r.clear()
	if got := r.last(); len(got) != 0 {
		t.Errorf("kept %q after clear", got)
	}
	if _, err := r.Write([]byte(strings.Repeat("x", 3*maxLineLength) + "\n")); err != nil {
		t.Fatal(err)
	}
	if got := r.last(); len(got) != 1 || len(got[0]) != maxLineLength {
		t.Errorf("an endless line takes %d lines of %d bytes", len(got), len(got[0]))
	}
}

func TestEndIsExplainedInOneSentence(t *testing.T) {
	t.Parallel()
	exit := errors.New("exit status 1")
	for _, test := range []struct{ line, want string }{
		{"Error: lock /r/repo.lock: someone else has the lock", "the IPFS repo at /r is in use by another process"},
		{"Error: write /r/blocks/x: no space left on device", "the disk that holds the IPFS repo at /r is full"},
		{"Error: open /r/config: permission denied", "the IPFS node lacks a permission (open /r/config: permission denied)"},
		{"Error: serveHTTPApi: manet.Listen(/ip4/127.0.0.1/tcp/5001) failed: listen tcp4: bind: address already in use",
			"a port of Kubo is in use by another program (serveHTTPApi"},
		{"Error: failed to listen on any addresses: [x]", "a port of Kubo is in use"},
		{"Error: something new", "the IPFS node ended (exit status 1): something new"},
		{"all is well", "the IPFS node ended (exit status 1)"},
	} {
		got := diagnose("/r", exit, []string{"Initializing daemon...", test.line, "(see the log)"})
		if !strings.HasPrefix(got.Error(), test.want) || strings.Contains(got.Error(), "\n") {
			t.Errorf("%q is explained as %q", test.line, got)
		}
	}
	if got := diagnose("/r", nil, nil).Error(); got != "the IPFS node ended (exit status 0)" {
		t.Errorf("a quiet end is explained as %q", got)
	}
}

func TestKuboGetsNothingThatIsMeantForUs(t *testing.T) {
	t.Parallel()
	cfg := &Config{Environment: map[string]string{"GOLOG_LOG_LEVEL": "info"}}
	got := environment([]string{
		"PATH=/bin", "IPFS_PATH=/home/me/.ipfs", "CLUSTER_SECRET=s", "IPFS_CLUSTER_PATH=/c", "NOTIFY_SOCKET=/run/x",
		"LISTEN_FDS=1", "GOLOG_FILE=/log", "IPFS_TELEMETRY=on",
	}, cfg, "/r")
	last := map[string]string{}
	for _, pair := range got {
		name, value, _ := strings.Cut(pair, "=")
		if _, twice := last[name]; twice {
			t.Errorf("%s is there twice; which one holds depends on who reads", name)
		}
		last[name] = value
	}
	want := map[string]string{"PATH": "/bin", "IPFS_PATH": "/r", "IPFS_TELEMETRY": "off", "GOLOG_LOG_LEVEL": "info"}
	if !maps.Equal(last, want) {
		t.Errorf("environment %v, want %v", last, want)
	}
	cfg.Telemetry = true
	if got := environment(nil, cfg, "/r"); slices.Contains(got, "IPFS_TELEMETRY=off") {
		t.Error("telemetry is off although it was asked for")
	}
}

func TestProgramIsLookedForBesideOursThenInPath(t *testing.T) {
	dir := t.TempDir()
	beside, inPath, linked := filepath.Join(dir, "bin"), filepath.Join(dir, "path"), filepath.Join(dir, "linked")
	for _, d := range []string{beside, inPath, linked} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", inPath)
	own := filepath.Join(beside, "ipfs-cluster-pinsvc")
	program(t, own)
	link := filepath.Join(linked, "ipfs-cluster-pinsvc")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{}
	_, err := findBinary(cfg, own)
	for _, part := range []string{filepath.Join(beside, "ipfs"), "PATH", "make", "binary_path"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not tell of %q: %v", part, err)
		}
	}
	for _, step := range []struct{ adds, own, finds string }{
		{filepath.Join(inPath, "ipfs"), own, filepath.Join(inPath, "ipfs")},
		{filepath.Join(beside, "ipfs"), own, filepath.Join(beside, "ipfs")},
		{filepath.Join(dir, "unused"), link, filepath.Join(beside, "ipfs")},
	} {
		program(t, step.adds)
		if got, err := findBinary(cfg, step.own); err != nil || got != step.finds {
			t.Errorf("found %s (%v), want %s", got, err, step.finds)
		}
	}
}

func TestNamedProgramIsTakenOrMissed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	program(t, filepath.Join(dir, "kubo"))
	cfg := &Config{}
	cfg.SetBaseDir(dir)
	for _, name := range []string{"kubo", "./kubo", filepath.Join(dir, "kubo")} {
		cfg.BinaryPath = name
		got, err := findBinary(cfg, "")
		if name == "./kubo" { // one of the folder of service.json, not of ours
			cfg.BinaryPath = "sub/../kubo"
			got, err = findBinary(cfg, "")
		}
		if err != nil || got != filepath.Join(dir, "kubo") {
			t.Errorf("%s: found %s (%v)", name, got, err)
		}
	}
	write(t, filepath.Join(dir, "data"), "")
	for name, part := range map[string]string{"sub/ipfs": "no ipfs program at " + filepath.Join(dir, "sub", "ipfs"),
		filepath.Join(dir, "data"): "may not be executed"} {
		cfg.BinaryPath = name
		if _, err := findBinary(cfg, ""); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func program(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestStorageMaxIsASizeOrAShareOfTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	total, known := diskSize(dir)
	if !known {
		t.Fatal("the size of the disk is not known")
	}
	for text, want := range map[string]string{
		"500GB": "500GB", "10 TiB": "10 TiB", "": "",
		"100%": fmt.Sprintf("%dMB", total/100*100/1_000_000), "25 %": fmt.Sprintf("%dMB", total/100*25/1_000_000),
	} {
		limit, err := parseStorageMax(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if got, ok := limit.resolve(dir); got != want || ok != (want != "") {
			t.Errorf("%q is %q (%v), want %q", text, got, ok, want)
		}
	}
	for _, text := range []string{"0%", "101%", "-1%", "much", "0", "0GB", "%", "1.5%"} {
		if _, err := parseStorageMax(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestEndpointsOfSwarmAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]endpoint{
		"/ip4/0.0.0.0/tcp/4001":                        {"tcp4", "0.0.0.0", 4001},
		"/ip6/::/udp/4001/quic-v1/webtransport":        {"udp6", "::", 4001},
		"/ip4/127.0.0.1/tcp/0":                         {"tcp4", "127.0.0.1", 0},
		"/dns4/example.org/tcp/443/wss":                {},
		"/ip4/127.0.0.1/sctp/1":                        {},
		"/unix/tmp/socket":                             {},
		"/p2p-circuit":                                 {},
		"/ip4/127.0.0.1/tcp/port-that-is-not-a-number": {},
	} {
		if got, ok := parseEndpoint(addr); got != want || ok != (want != endpoint{}) {
			t.Errorf("%s: %+v (%v), want %+v", addr, got, ok, want)
		}
	}
}
