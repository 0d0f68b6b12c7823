//go:build !windows

package kubo

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestStartProcess_DiesWithItsKilledParent(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"="+cfg.BaseDir, binaryVariable+"="+cfg.BinaryPath)
	parent.Stderr = os.Stderr
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the parent did not get its Kubo to run: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	start, alive := processStart(pid)
	if !alive {
		t.Fatal("there is no Kubo")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := parent.Wait(); err == nil {
		t.Error("the parent ended before it was killed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !awaitEnd(ctx, pidFile{PID: pid, Start: start}) {
		t.Error("Kubo outlived its parent")
	}
	// The stale files of both, locks and addresses, are no obstacle.
	awaitRunning(t, startNode(t, cfg))
}

func TestEndOrphan_EndsAnOrphan(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	repo := madeRepo(t, cfg)
	orphan := strayDaemon(t, cfg)
	left := newPIDFile(orphan.Pid)
	left.Parent, left.ParentStart = goneProcess(t)
	if err := writeJSON(filepath.Join(repo, pidFileName), left); err != nil {
		t.Fatal(err)
	}
	status := awaitRunning(t, startNode(t, cfg))
	if isSameProcess(left.PID, left.Start) {
		t.Error("the Kubo that was left behind is still there")
	}
	if status.PID == left.PID || status.Restarts != 0 {
		t.Errorf("not started at the first try: %+v", status)
	}
}

func TestEndOrphan_LeavesTheKuboOfALivingPeer(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	repo := madeRepo(t, cfg)
	other := strayDaemon(t, cfg)
	theirs := newPIDFile(other.Pid) // the living parent is this test
	if err := writeJSON(filepath.Join(repo, pidFileName), theirs); err != nil {
		t.Fatal(err)
	}
	awaitError(t, startNode(t, cfg), "in use by another peer", fmt.Sprintf("(process %d)", os.Getpid()), "repo_path")
	if !isSameProcess(theirs.PID, theirs.Start) {
		t.Error("the other peer's Kubo was ended")
	}
}

func TestRefuseLocked_NamesTheHolderAndWaits(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	madeRepo(t, cfg)
	holder := strayDaemon(t, cfg)
	n := startNode(t, cfg)
	awaitError(t, n, "in use by process "+strconv.Itoa(holder.Pid), "ipfs daemon", "repo_path")
	if _, alive := processStart(holder.Pid); !alive {
		t.Error("the holder was ended, though it is not ours")
	}
	if err := requestStop(holder); err != nil {
		t.Fatal(err)
	}
	awaitRunning(t, n)
}

func TestEndOrphan_IgnoresAReusedPID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reused := newPIDFile(os.Getpid())
	reused.Start = "another boot/1"
	reused.Parent, reused.ParentStart = goneProcess(t)
	if err := writeJSON(filepath.Join(dir, pidFileName), reused); err != nil {
		t.Fatal(err)
	}
	if err := endOrphan(t.Context(), dir, patience); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, pidFileName)); err == nil {
		t.Error("the stale record is still there")
	}
}

// goneProcess returns a process that was there and is no more.
func goneProcess(t *testing.T) (pid int, start string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid = cmd.Process.Pid
	start, _ = processStart(pid)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return pid, start
}
