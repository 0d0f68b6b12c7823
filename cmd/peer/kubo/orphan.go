package kubo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// pidFileName is the file in the repo that names the Kubo process of this
// program.
const pidFileName = "managed.pid"

// pidFile is the content of that file: the child and its parent. The start times
// distinguish processes that reuse a PID.
type pidFile struct {
	PID         int    `json:"pid"`
	Start       string `json:"start"`
	Parent      int    `json:"parent"`
	ParentStart string `json:"parent_start"`
}

func newPIDFile(child int) pidFile {
	file := pidFile{PID: child, Parent: os.Getpid()}
	file.Start, _ = processStart(file.PID)
	file.ParentStart, _ = processStart(file.Parent)
	return file
}

// isSameProcess reports whether a PID still belongs to the process that started
// at start.
func isSameProcess(pid int, start string) bool {
	now, ok := processStart(pid)
	return ok && now == start
}

// endOrphan ends a Kubo that an earlier run of this program left behind on the
// repo. It fails when that Kubo belongs to a peer that still runs.
func endOrphan(ctx context.Context, repo string, timeout time.Duration) error {
	path := filepath.Join(repo, pidFileName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var file pidFile
	if err := json.Unmarshal(raw, &file); err != nil {
		logger.Warnf("%s cannot be read and is ignored: %v", path, err)
		return nil
	}
	if isSameProcess(file.PID, file.Start) {
		if isSameProcess(file.Parent, file.ParentStart) {
			return fmt.Errorf("the IPFS repo at %s is in use by another peer (process %d): "+
				"stop it, or set ipfs_connector.managed.repo_path to another folder", repo, file.Parent)
		}
		if err := endProcess(ctx, file, timeout); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// endProcess requests the process to stop, and kills it after the timeout.
func endProcess(ctx context.Context, file pidFile, timeout time.Duration) error {
	p, err := os.FindProcess(file.PID)
	if err != nil {
		return err
	}
	defer p.Release()
	// The handle stays this process even if its PID is reused, so the check
	// comes after FindProcess.
	if !isSameProcess(file.PID, file.Start) {
		return nil
	}
	logger.Warnf("a Kubo of an earlier run (process %d) still runs and is ended", file.PID)
	graceful, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := requestStop(p); err == nil && awaitEnd(graceful, file) {
		return nil
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("a Kubo of an earlier run (process %d) cannot be ended: %w", file.PID, err)
	}
	if !awaitEnd(ctx, file) {
		return ctx.Err()
	}
	return nil
}

// awaitEnd polls until the process has ended: the system notifies only its
// parent, which is gone.
func awaitEnd(ctx context.Context, file pidFile) bool {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for isSameProcess(file.PID, file.Start) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// refuseLocked fails when another process holds the repo.
func refuseLocked(repo string) error {
	pid, held, err := lockHolder(repo)
	if err != nil {
		return fmt.Errorf("the lock of the IPFS repo cannot be read: %w", err)
	}
	if !held {
		return nil
	}
	return lockedError(repo, pid)
}

func lockedError(repo string, pid int) error {
	by := "another process"
	if pid > 0 {
		by = fmt.Sprintf("process %d", pid)
		if name := processName(pid); name != "" {
			by += fmt.Sprintf(" (%s)", name)
		}
	}
	return fmt.Errorf("the IPFS repo at %s is in use by %s: stop it, or set ipfs_connector.managed.repo_path "+
		"to another folder", repo, by)
}
