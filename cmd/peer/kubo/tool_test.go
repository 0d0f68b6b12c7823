package kubo

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hangingProgram is a program that writes a line and then hangs.
func hangingProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ipfs")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho working on it >&2\nexec sleep 3600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// A hanging command is shown with its last output and ended at its limit.
func TestRunTool_EndsACommandThatHangs(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cfg := configIn(t.TempDir(), hangingProgram(t))
	n := idleNode(cfg)
	hanging := tool{program: cfg.BinaryPath, repo: n.repo, args: []string{"repo", "migrate"},
		timeout: 2 * time.Second, progress: 50 * time.Millisecond}
	shown := make(chan string, 1)
	go func() {
		for {
			status, changed := n.Watch()
			if strings.Contains(status.Doing, "working on it") {
				shown <- status.Doing
				return
			}
			select {
			case <-changed:
			case <-time.After(patience):
				shown <- "nothing: " + status.Doing
				return
			}
		}
	}()
	_, err := n.runTool(t.Context(), hanging, "migrating")
	if err == nil || !strings.Contains(err.Error(), "repo migrate") || !strings.Contains(err.Error(), "within 2s") {
		t.Errorf("the error is %v", err)
	}
	if doing := <-shown; !strings.Contains(doing, `migrating: "`+cfg.BinaryPath+` repo migrate" runs for`) {
		t.Errorf("shown while it hangs: %s", doing)
	}
}

// A hanging ipfs program is named by the state, and a stop does not wait for it.
func TestRunTool_NamesWhatHangs(t *testing.T) {
	t.Parallel()
	cfg := configIn(t.TempDir(), hangingProgram(t))
	n := startNode(t, cfg)
	status := await(t, n, "making a repo", func(s Status) bool { return s.PID == 0 && s.Doing != "" })
	if status.State != StateStarting || !strings.Contains(status.Doing, "making an IPFS repo") {
		t.Errorf("the status is %+v", status)
	}
}

func TestTool_LimitsAreSet(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{versionTimeout, initTimeout, migrateTimeout} {
		if limit < time.Minute || newTool("ipfs", "", limit).timeout != limit {
			t.Errorf("a limit is %s", limit)
		}
	}
	if migrateTimeout < time.Hour {
		t.Errorf("a migration may take %s only", migrateTimeout)
	}
}
