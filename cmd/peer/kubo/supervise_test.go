package kubo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	manet "github.com/multiformats/go-multiaddr/net"
)

func TestSupervise_RestartsAKilledKuboOnTheSamePort(t *testing.T) {
	t.Parallel()
	n := startNode(t, testConfig(t))
	before := awaitRunning(t, n)
	kill(t, before.PID)
	await(t, n, "noticed", func(s Status) bool { return s.Err != "" && s.State == StateRestarting })
	after := await(t, n, "running again", func(s Status) bool { return s.State == StateRunning && s.PID != before.PID })
	if !after.APIAddr.Equal(before.APIAddr) {
		t.Errorf("the RPC moved from %s to %s", before.APIAddr, after.APIAddr)
	}
	if after.Restarts != 1 || after.Err != "" {
		t.Errorf("after one restart: %+v", after)
	}
}

func TestSupervise_MovesFromARPCPortInUse(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.RestartDelayMin, cfg.RestartDelayMax = time.Second, time.Second
	n := startNode(t, cfg)
	before := awaitRunning(t, n)
	_, host, err := manet.DialArgs(before.APIAddr)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, before.PID)
	await(t, n, "waiting", func(s Status) bool { return s.State == StateRestarting })
	squatter, err := net.Listen("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	after := await(t, n, "running again", func(s Status) bool { return s.State == StateRunning && s.PID != before.PID })
	if after.APIAddr.Equal(before.APIAddr) {
		t.Errorf("the RPC is said to be at %s still, which another program holds", after.APIAddr)
	}
}

func TestSupervise_ReplacesAnUnresponsiveKubo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.UnresponsiveTimeout = 2 * time.Second
	cfg.StopTimeout = 100 * time.Millisecond // so the stop at the end may be by force too
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { <-n.Done() }()
	defer n.cancel()
	before := awaitRunning(t, n)
	signal(t, before.PID, syscall.SIGSTOP)
	awaitError(t, n, "gave no response for 2s")
	if _, alive := processStart(before.PID); alive {
		t.Error("the frozen process is still there")
	}
	await(t, n, "replaced", func(s Status) bool { return s.State == StateRunning && s.PID != before.PID })
}

func TestSupervise_RestartsOnRequest(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.RestartDelayMin, cfg.RestartDelayMax = time.Second, time.Second
	n := startNode(t, cfg)
	n.Restart(errors.New("too early"))
	before := awaitRunning(t, n)
	n.Restart(errors.New("it cannot write"))
	n.Restart(errors.New("it cannot write"))
	awaitError(t, n, "it cannot write")
	n.Restart(errors.New("too late"))
	after := await(t, n, "running again", func(s Status) bool { return s.State == StateRunning && s.PID != before.PID })
	if after.Restarts != 1 || after.Err != "" {
		t.Errorf("after one restart: %+v", after)
	}
}

func TestSupervise_StartTimeout(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	madeRepo(t, cfg)
	cfg.StartTimeout = time.Nanosecond
	n := startNode(t, cfg)
	awaitError(t, n, "gave no response within ipfs_connector.managed.start_timeout (1ns)")
}

func TestSupervise_CrashLoopBacksOffAndRecovers(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	madeRepo(t, cfg)
	editKubo(t, cfg, "Routing.Type", `"bogus"`)
	n := startNode(t, cfg)
	status := awaitError(t, n, "the IPFS node ended (exit status 1)", "unrecognized routing option: bogus")
	if len(status.Output) == 0 || !strings.Contains(strings.Join(status.Output, "\n"), "bogus") {
		t.Errorf("the last lines do not show why: %q", status.Output)
	}
	if status.State != StateRestarting || status.NextTry.IsZero() {
		t.Errorf("not waiting for the next try: %+v", status)
	}
	await(t, n, "tried 4 times", func(s Status) bool { return s.Restarts >= 3 })
	editKubo(t, cfg, "Routing.Type", `"none"`)
	recovered := awaitRunning(t, n)
	if recovered.Err != "" || recovered.Output != nil {
		t.Errorf("the failure is still shown: %+v", recovered)
	}
}

func TestSupervise_WaitsForAMissingProgram(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	program := cfg.BinaryPath
	cfg.BinaryPath = "./later/ipfs"
	n := startNode(t, cfg)
	awaitError(t, n, "no ipfs program at", "later/ipfs", "make", "binary_path")
	if err := os.MkdirAll(filepath.Join(cfg.BaseDir, "later"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(cfg.BaseDir, "later", "ipfs")); err != nil {
		t.Fatal(err)
	}
	awaitRunning(t, n)
}

// versionTransport responds to requests for the version, and keeps the context
// of the last one.
type versionTransport struct{ last context.Context }

func (v *versionTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	v.last = req.Context()
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"Version":"1.2.3"}`)), Request: req}, nil
}

// The context of a start ends with the start, with and without a time limit: a
// context that outlived it would be leaked at each start.
func TestAwaitStart_EndsItsContext(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{0, time.Hour} {
		n := &Node{cfg: &Config{StartTimeout: limit}, repo: t.TempDir()}
		if err := os.WriteFile(filepath.Join(n.repo, apiFile), []byte("/ip4/127.0.0.1/tcp/1"), 0o600); err != nil {
			t.Fatal(err)
		}
		transport := &versionTransport{}
		starting := &process{exited: make(chan struct{})}
		addr, version, err := n.awaitStart(t.Context(), rpc{&http.Client{Transport: transport}}, starting)
		if err != nil || version != "1.2.3" || addr.String() != "/ip4/127.0.0.1/tcp/1" {
			t.Errorf("limit %s: started at %v with version %q, %v", limit, addr, version, err)
		}
		if _, limited := transport.last.Deadline(); limited != (limit > 0) {
			t.Errorf("limit %s: the context has a deadline: %t", limit, limited)
		}
		if transport.last.Err() == nil {
			t.Errorf("limit %s: the context goes on after the start", limit)
		}
	}
}
