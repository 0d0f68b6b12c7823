package kubo

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// binaryVariable names the ipfs program for the tests; without it they take
// bin/ipfs at the root of the project.
const binaryVariable = "PINSVC_TEST_IPFS"

// parentVariable makes the test program a parent of a managed Kubo instead:
// it runs one in the folder that the variable names until it is killed.
const parentVariable = "PINSVC_TEST_KUBO_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentVariable); dir != "" {
		beParent(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// beParent runs a managed Kubo until this process is killed, and prints the
// number of its process.
func beParent(dir string) {
	n, err := Start(context.Background(), configIn(dir, os.Getenv(binaryVariable)))
	if err != nil {
		panic(err)
	}
	<-n.Ready()
	fmt.Println(n.Status().PID)
	<-n.Done()
}

func ipfsProgram(t *testing.T) string {
	t.Helper()
	path := os.Getenv(binaryVariable)
	if path == "" {
		path = filepath.Join("..", "..", "..", "bin", "ipfs")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("no ipfs program at %s: build it with \"make bin/ipfs\", or name one in %s", path, binaryVariable)
	}
	return path
}

// testConfig is a private node in a folder of its own that tries again fast.
func testConfig(t *testing.T) *Config {
	t.Helper()
	return configIn(t.TempDir(), ipfsProgram(t))
}

func configIn(dir, program string) *Config {
	cfg := &Config{}
	if err := cfg.Default(); err != nil {
		panic(err)
	}
	cfg.SetBaseDir(dir)
	cfg.BinaryPath = program
	cfg.Profile = ProfilePrivate
	cfg.RestartDelayMin = 10 * time.Millisecond
	cfg.RestartDelayMax = 100 * time.Millisecond
	return cfg
}

// patience is far more than anything here takes on a busy machine.
const patience = 2 * time.Minute

func startNode(t *testing.T, cfg *Config) *Node {
	t.Helper()
	n, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopNode(t, n) })
	return n
}

func stopNode(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// await waits until the status of n is as wanted.
func await(t *testing.T, n *Node, wanted string, is func(Status) bool) Status {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		status, changed := n.Watch()
		if is(status) {
			return status
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("not %s within %s: %+v", wanted, patience, n.Status())
		}
	}
}

func awaitRunning(t *testing.T, n *Node) Status {
	t.Helper()
	return await(t, n, "running", func(s Status) bool { return s.State == StateRunning })
}

// awaitError waits for a failure whose sentence has each of the parts.
func awaitError(t *testing.T, n *Node, parts ...string) Status {
	t.Helper()
	return await(t, n, fmt.Sprintf("failing with %q", parts), func(s Status) bool {
		for _, part := range parts {
			if !strings.Contains(s.Err, part) {
				return false
			}
		}
		return true
	})
}

// madeRepo makes the repo of cfg without leaving a Kubo running.
func madeRepo(t *testing.T, cfg *Config) string {
	t.Helper()
	n := startNode(t, cfg)
	awaitRunning(t, n)
	stopNode(t, n)
	return n.RepoDir()
}

// prepared runs all that comes before the start of the daemon, once.
func prepared(t *testing.T, cfg *Config) document {
	t.Helper()
	n := idleNode(cfg)
	if _, err := n.prepare(t.Context(), cfg.BinaryPath); err != nil {
		t.Fatal(err)
	}
	return kuboConfig(t, n.repo)
}

// idleNode is a Node that nobody supervises.
func idleNode(cfg *Config) *Node {
	return &Node{
		cfg: cfg.clone(), repo: cfg.RepoDir(), output: newLogTail(outputLines),
		kill: make(chan struct{}), changed: make(chan struct{}), cancel: func() {},
	}
}

func kuboConfig(t *testing.T, repo string) document {
	t.Helper()
	doc, err := readDocument(filepath.Join(repo, configFile))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// editKubo changes Kubo's configuration as its operator does.
func editKubo(t *testing.T, cfg *Config, key, value string) {
	t.Helper()
	ipfs(t, cfg, "config", "--json", key, value)
}

func ipfs(t *testing.T, cfg *Config, args ...string) string {
	t.Helper()
	cmd, err := Command(t.Context(), cfg, args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ipfs %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// strayDaemon runs ipfs on the repo as others would, with nobody's help, and
// returns its process once it is ready.
func strayDaemon(t *testing.T, cfg *Config) *os.Process {
	t.Helper()
	cmd, err := Command(context.Background(), cfg, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, reaped := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(reaped)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if lines.Text() == "Daemon is ready" {
				ready <- true
			}
		}
		close(ready)
		// The tests kill it; how it ended says nothing.
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // gone already in most tests
		<-reaped
	})
	if !<-ready {
		t.Fatal("ipfs daemon ended before it was ready")
	}
	return cmd.Process
}

func program(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func holdPort(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

func expect(t *testing.T, doc document, wanted map[string]any) {
	t.Helper()
	for key, want := range wanted {
		if got := doc.get(key); !reflect.DeepEqual(got, plain(want)) {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
