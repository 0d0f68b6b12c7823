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

// recordFile names, in the repo, the process that we run on it.
const recordFile = "managed.pid"

// record is what recordFile holds: the child, and us. The start tells whether
// a process of that number is still the same process.
type record struct {
	PID         int    `json:"pid"`
	Start       string `json:"start"`
	Parent      int    `json:"parent"`
	ParentStart string `json:"parent_start"`
}

func newRecord(child int) record {
	r := record{PID: child, Parent: os.Getpid()}
	r.Start, _ = processStart(r.PID)
	r.ParentStart, _ = processStart(r.Parent)
	return r
}

// isRunning reports whether a process is still the one that was recorded.
func isRunning(pid int, start string) bool {
	now, ok := processStart(pid)
	return ok && now == start
}

// endOrphan ends a Kubo that an earlier run of ours left behind on the repo.
// It fails when the recorded Kubo belongs to a peer that is still there.
func endOrphan(ctx context.Context, repo string, timeout time.Duration) error {
	path := filepath.Join(repo, recordFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		logger.Warnf("%s cannot be read and is ignored: %v", path, err)
		return nil
	}
	if isRunning(r.PID, r.Start) {
		if isRunning(r.Parent, r.ParentStart) {
			return fmt.Errorf("the IPFS repo at %s is in use by another peer (process %d): "+
				"stop it, or set ipfs_connector.managed.repo_path to another folder", repo, r.Parent)
		}
		if err := endProcess(ctx, r, timeout); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// endProcess asks the recorded process to stop and kills it when it does not.
func endProcess(ctx context.Context, r record, timeout time.Duration) error {
	p, err := os.FindProcess(r.PID)
	if err != nil {
		return err
	}
	defer p.Release()
	// What FindProcess returns stays this process even if the number is
	// given to another one, so it is looked at again only now.
	if !isRunning(r.PID, r.Start) {
		return nil
	}
	logger.Warnf("a Kubo of an earlier run is still there (process %d) and is ended", r.PID)
	polite, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := askToStop(p); err == nil && awaitEnd(polite, r) {
		return nil
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("a Kubo of an earlier run (process %d) cannot be ended: %w", r.PID, err)
	}
	if !awaitEnd(ctx, r) {
		return ctx.Err()
	}
	return nil
}

// awaitEnd looks until the recorded process has gone; only a parent can be
// told, and its parent is no more.
func awaitEnd(ctx context.Context, r record) bool {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for isRunning(r.PID, r.Start) {
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
		return fmt.Errorf("the lock of the IPFS repo cannot be looked at: %w", err)
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
