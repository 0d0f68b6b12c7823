//go:build !windows

package kubo

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	manet "github.com/multiformats/go-multiaddr/net"
)

func TestFreshStartMakesAPrivateRepoAndRuns(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	n := startNode(t, cfg)
	status := awaitRunning(t, n)
	select {
	case <-n.Ready():
	default:
		t.Error("running, but Ready is not closed")
	}
	addr, ok := n.APIAddr()
	if !ok || !manet.IsIPLoopback(addr) {
		t.Errorf("the RPC is at %v (%v), not on loopback", addr, ok)
	}
	if status.Version == "" || status.Binary != cfg.BinaryPath || status.PID == 0 || status.Err != "" {
		t.Errorf("status lacks something: %+v", status)
	}
	for path, mode := range map[string]os.FileMode{".": 0o700, configFile: 0o600} {
		info, err := os.Stat(filepath.Join(n.RepoDir(), path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), mode)
		}
	}
	if _, err := os.Stat(filepath.Join(n.RepoDir(), "gateway")); err == nil {
		t.Error("there is a gateway")
	}
	id := ipfs(t, cfg, "id", "-f", "<id>")

	stopNode(t, n)
	if got := n.Status(); got.State != StateStopped || got.PID != 0 {
		t.Errorf("after Stop: %+v", got)
	}
	if _, alive := processStart(status.PID); alive {
		t.Error("the process is still there after Stop")
	}
	if _, ok := n.APIAddr(); ok {
		t.Error("the RPC is said to answer after Stop")
	}
	again := startNode(t, cfg)
	awaitRunning(t, again)
	if got := ipfs(t, cfg, "id", "-f", "<id>"); got != id {
		t.Errorf("the second start has peer ID %s, the first had %s", got, id)
	}
}

func TestKilledKuboComesBackOnTheSamePort(t *testing.T) {
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

func TestTakenRPCPortIsLeftAndTheNewOneAnnounced(t *testing.T) {
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

func TestKuboThatGivesNoAnswerIsReplaced(t *testing.T) {
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
	awaitError(t, n, "gave no answer for 2s")
	if _, alive := processStart(before.PID); alive {
		t.Error("the frozen process is still there")
	}
	await(t, n, "replaced", func(s Status) bool { return s.State == StateRunning && s.PID != before.PID })
}

func TestStartTimeoutEndsAKuboThatNeverAnswers(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	madeRepo(t, cfg)
	cfg.StartTimeout = time.Nanosecond
	n := startNode(t, cfg)
	awaitError(t, n, "gave no answer within ipfs_connector.managed.start_timeout (1ns)")
}

func TestStopMayBeCalledAnyTimeAndOften(t *testing.T) {
	t.Parallel()
	n := startNode(t, testConfig(t))
	var calls sync.WaitGroup
	for range 5 {
		calls.Go(func() {
			if err := n.Stop(context.Background()); err != nil {
				t.Errorf("Stop: %v", err)
			}
		})
	}
	calls.Wait()
	if got := n.Status().State; got != StateStopped {
		t.Errorf("state %s after Stop", got)
	}
	if got := n.Status().Sentence(); got != "the IPFS node is stopped" {
		t.Errorf("status reads %q", got)
	}
}

func TestEndOfContextStopsTheNode(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	n, err := Start(ctx, testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	status := awaitRunning(t, n)
	cancel()
	<-n.Done()
	if _, alive := processStart(status.PID); alive {
		t.Error("the process outlived the context")
	}
}

func TestStopThatMayNotWaitKills(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	n, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	status := awaitRunning(t, n)
	signal(t, status.PID, syscall.SIGSTOP) // so that it cannot stop in time
	impatient, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Stop(impatient); err == nil {
		t.Error("a frozen Kubo is said to have stopped by itself")
	}
	if _, alive := processStart(status.PID); alive {
		t.Error("the process is still there")
	}
}

func TestCrashLoopBacksOffShowsLastLinesAndRecovers(t *testing.T) {
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

func TestMissingProgramIsNamedAndWaitedFor(t *testing.T) {
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

func TestStartRefusesAFaultyConfig(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Profile = "public"
	if _, err := Start(context.Background(), cfg); err == nil {
		t.Error("no error")
	}
}

func kill(t *testing.T, pid int) { t.Helper(); signal(t, pid, syscall.SIGKILL) }

func signal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}
