package peer

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pebbleconfig "github.com/ipfs-cluster/ipfs-cluster/datastore/pebble"
	"github.com/ipfs/go-datastore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

const (
	// spaceProbe is the size of a file that must fit before a full store goes on.
	spaceProbe = 4 << 20
	// spaceRetry is how often that is tried.
	spaceRetry = time.Second
	// spaceRetryMax is the longest pause before a store goes on that needs more than the probe, and
	// twice that is how long it must have had space for the next pause to be none.
	spaceRetryMax = 10 * time.Second
)

// errStoreFull and errLogFull are told to clients.
var (
	errStoreFull = errors.New("the disk of the datastore is full (no space left on device)")
	errLogFull   = errors.New("the disk of the Raft log, consensus.raft.data_folder, is full (no space left on device)")
)

// storeSpace lets a store whose disk is full wait for space. It is by hand because pebble ends the
// process when its log cannot be written (U52 in docs/upstream-faults.md). Reads go on meanwhile.
type storeSpace struct {
	// fits and retry are set by tests; zero: a probe file each spaceRetry.
	fits  func(folder string) bool
	retry time.Duration

	// opening is set while a store is opened.
	opening atomic.Bool
	// pauses and ended are of the waits, one of which runs at a time.
	pauses backoff.Counter
	ended  time.Time

	mu        sync.Mutex
	full      bool
	committer *groupcommit.Committer
}

// watch has a pebble store wait. Tables are written in the background, and again when that failed:
// only the files whose errors are fatal wait. While the store is opened tables wait too: what is in
// the log is written into tables first, and nothing goes on before (U110 in docs/upstream-faults.md).
func (s *storeSpace) watch(cfg *pebbleconfig.Config) {
	base := cfg.PebbleOptions.FS
	if base == nil {
		base = vfs.Default
	}
	limitSpaceErrors(&cfg.PebbleOptions, spaceLogPause)
	folder := cfg.GetFolder()
	cfg.PebbleOptions.FS = waitingFS{FS: vfs.OnDiskFull(base, func() { s.wait(folder) }), tables: base, opening: &s.opening}
}

// open opens the datastore. If ctx ends meanwhile it does not wait for that, and what is opened later
// is closed again: a store whose disk is full waits for space to be opened, which nothing can end (U82).
func (s *storeSpace) open(ctx context.Context, store func() (datastore.Datastore, error)) (datastore.Datastore, error) {
	type result struct {
		store datastore.Datastore
		err   error
	}
	opened := make(chan result, 1)
	s.opening.Store(true)
	go func() {
		defer s.opening.Store(false)
		opening, err := store()
		opened <- result{opening, err}
	}()
	select {
	case r := <-opened:
		return r.store, r.err
	case <-ctx.Done():
	}
	go func() {
		if r := <-opened; r.err == nil {
			if err := r.store.Close(); err != nil {
				logger.Warnf("closing a datastore that was opened too late: %s", err)
			}
		}
	}()
	if err := s.Full(); err != nil {
		return nil, err
	}
	return nil, ctx.Err()
}

// waitingFS waits for space, except for tables of a store that is open.
type waitingFS struct {
	vfs.FS
	tables  vfs.FS
	opening *atomic.Bool
}

// Create implements vfs.FS.
func (f waitingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") && !f.opening.Load() {
		return f.tables.Create(name, category)
	}
	return f.FS.Create(name, category)
}

// wait returns when there is space in the folder. A table that is larger than the probe may still not
// fit then, and is begun again: the next wait is longer.
func (s *storeSpace) wait(folder string) {
	s.begin(folder, errStoreFull)
	check := s.fits
	if check == nil {
		check = fits
	}
	retry := cmp.Or(s.retry, spaceRetry)
	if time.Since(s.ended) < 2*spaceRetryMax {
		s.pauses.Policy = backoff.Policy{Min: retry, Max: spaceRetryMax}
		time.Sleep(s.pauses.Next())
	} else {
		s.pauses.Reset()
	}
	for !check(folder) {
		time.Sleep(retry)
	}
	s.ended = time.Now()
	s.end(folder)
}

// await returns when check finds space in the folder, or errStoreFull when ctx ends.
func (s *storeSpace) await(ctx context.Context, folder string, check func() error) error {
	err := check()
	if err == nil {
		return nil
	}
	s.begin(folder, err)
	for ; err != nil; err = check() {
		if !backoff.Sleep(ctx, cmp.Or(s.retry, spaceRetry)) {
			return err
		}
	}
	s.end(folder)
	return nil
}

func (s *storeSpace) begin(folder string, why error) {
	logger.Errorf("%s: %s. No change of the pinset is accepted until there is space", folder, why)
	s.set(true)
}

func (s *storeSpace) end(folder string) {
	s.set(false)
	logger.Infof("%s: there is space again", folder)
}

// fits reports whether a file of spaceProbe bytes can be written.
func fits(folder string) bool {
	probe := filepath.Join(folder, "space.probe")
	err := os.WriteFile(probe, make([]byte, spaceProbe), 0o600)
	return errors.Join(err, os.Remove(probe)) == nil
}

func (s *storeSpace) set(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
	s.tell()
}

// bind has the commits refused while the store is full.
func (s *storeSpace) bind(c *groupcommit.Committer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committer = c
	s.tell()
}

// tell needs the lock.
func (s *storeSpace) tell() {
	switch {
	case s.committer == nil:
	case s.full:
		s.committer.Suspend(errStoreFull)
	default:
		s.committer.Resume()
	}
}

// Full returns why the store takes no writes, or nil.
func (s *storeSpace) Full() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return errStoreFull
	}
	return nil
}

// detail is Full in words, "" with space.
func (s *storeSpace) detail() string {
	if err := s.Full(); err != nil {
		return err.Error()
	}
	return ""
}
