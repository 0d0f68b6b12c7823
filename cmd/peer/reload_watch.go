package peer

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// reloadPoll is how often the watched files are checked. A change is applied
// when two checks in a row see the same state, so that a file is not read while
// it is being written.
//
// Files are polled, not watched by inotify: a poll follows the symbolic links
// that Kubernetes replaces, works on network file systems, needs no watch on a
// folder that does not exist yet, and half a dozen stats cost nothing.
const reloadPoll = time.Second

// watchedPaths are the files whose change triggers a reload.
type watchedPaths struct {
	config string
	// contents are the other files whose content is read.
	contents []string
	// log is the access log, which is only checked for having been moved: it
	// changes with each request.
	log string
}

func watchedPathsOf(files Files, cfg *config.Config) watchedPaths {
	return watchedPaths{config: files.Config}.with(cfg)
}

// with returns the paths for another section of the same file.
func (w watchedPaths) with(cfg *config.Config) watchedPaths {
	w.contents = nil
	certFile, keyFile := cfg.CertificateFiles()
	for _, path := range append(cfg.SecretFiles(), certFile, keyFile) {
		if path != "" {
			w.contents = append(w.contents, path)
		}
	}
	w.log = cfg.HTTPLogPath()
	return w
}

// snapshot is the state of the watched files at one moment; a missing file has
// a nil state.
type snapshot struct {
	files map[string]fs.FileInfo
	log   fs.FileInfo
}

func (w watchedPaths) snapshot() snapshot {
	s := snapshot{files: map[string]fs.FileInfo{w.config: stat(w.config)}, log: stat(w.log)}
	for _, path := range w.contents {
		s.files[path] = stat(path)
	}
	return s
}

// stat follows symbolic links and returns nil for a missing file.
func stat(path string) fs.FileInfo {
	if info, err := os.Stat(path); err == nil {
		return info
	}
	return nil
}

// equal reports whether two snapshots show the same files.
func (s snapshot) equal(other snapshot) bool {
	return sameFile(s.log, other.log) && maps.EqualFunc(s.files, other.files, func(a, b fs.FileInfo) bool {
		return sameFile(a, b) && (a == nil || a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size())
	})
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b)
}

// watch reloads when a watched file has changed, until ctx ends.
func (r *reloader) watch(ctx context.Context, interval time.Duration) {
	applied := r.initial
	previous := applied
	for backoff.Sleep(ctx, interval) {
		watched := r.watched()
		current := watched.snapshot()
		settled := current.equal(previous)
		previous = current
		if !settled || current.equal(applied) {
			continue
		}
		// A failed reload is logged and not repeated before the next change.
		_ = r.reload(ctx, onChange)
		// The reload may have changed the paths and opened another log. What
		// was read is as old as current: a later change is another one.
		now := r.watched()
		applied = now.snapshot()
		if now.log == watched.log && current.log != nil {
			applied.log = current.log // It may have been moved since it was opened.
		}
		for path := range applied.files {
			if info, before := current.files[path]; before {
				applied.files[path] = info
			}
		}
	}
}
