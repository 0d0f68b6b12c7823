//go:build !windows

package kubo

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	manet "github.com/multiformats/go-multiaddr/net"
)

func TestNode_FreshStartMakesAPrivateRepoAndRuns(t *testing.T) {
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

func TestNode_StopMayBeCalledAnyTimeAndOften(t *testing.T) {
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
}

func TestNode_StopsWithItsContext(t *testing.T) {
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

func TestNode_StopThatMayNotWaitKills(t *testing.T) {
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

func TestStart_RefusesAFaultyConfig(t *testing.T) {
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
