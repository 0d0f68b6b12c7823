package crdtstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// What other peers wrote is merged without a sync, and pebble keeps up to 32 KiB of what was not
// synced in the memory of the process (U90 in docs/upstream-faults.md). A reader of the state is
// shown only what is on the disk: reads of a key that was changed since the last sync wait for a
// sync, which all that was merged meanwhile shares. Merges themselves wait for nothing.

// syncWait is how long a reader waits for a sync. One that takes longer has a full or broken disk.
const syncWait = 2 * time.Second

// maxUnsynced is how many keys may change before there is a sync without a reader.
const maxUnsynced = 4096

var (
	// errUnsynced is the error of a read that did not get its sync.
	errUnsynced = errors.New("a change of another peer is not on the disk yet: the datastore does not sync it in time")
	errClosed   = errors.New("the CRDT is shut down")
)

// unsynced are the changes that may not survive the process.
type unsynced struct {
	mu sync.Mutex
	// keys are those whose elements, tombs or value a commit changed after the last sync
	// began, with the number of that commit.
	keys map[string]uint64
	// begun is the number of the last commit that has begun, committed that of the last one that
	// has ended, and synced that of the last one on the disk.
	begun, committed, synced uint64
	run                      *syncRun // in progress
	closed                   bool
}

// syncRun is one sync that readers wait for.
type syncRun struct {
	began time.Time
	done  chan struct{}
	err   error // when done
}

type shownKey struct{}

// Shown returns a context for reads whose result is shown to somebody: they wait until what they
// read is on the disk. List (a query) goes on without that after a while, as it is mostly of what
// has been there for long; Get and Has fail.
func Shown(ctx context.Context) context.Context { return context.WithValue(ctx, shownKey{}, true) }

func isShown(ctx context.Context) bool { return ctx.Value(shownKey{}) != nil }

// changing notes that a commit of keys begins, and returns its number. It needs the lock of
// commits, which is held until the commit has ended: the numbers are in the order of the log.
func (u *unsynced) changing(keys ...string) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys == nil {
		u.keys = make(map[string]uint64)
	}
	u.begun++
	for _, key := range keys {
		u.keys[key] = u.begun
	}
	return u.begun
}

// changed notes that the commit with that number has ended, however it did, and reports whether
// enough has gathered for a sync that nobody waits for.
func (u *unsynced) changed(number uint64) (many bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.committed = number
	return len(u.keys) > maxUnsynced
}

// last is the number of the last commit that has ended.
func (u *unsynced) last() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.committed
}

// of returns the number of the commit that a reader of the key has to wait for, or zero.
func (u *unsynced) of(key string) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.keys[key]
}

// all is of for all keys.
func (u *unsynced) all() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.keys) == 0 {
		return 0
	}
	return u.begun
}

// wrote notes that all commits up to a number are on the disk.
func (u *unsynced) wrote(number uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.synced = max(u.synced, number)
	for key, n := range u.keys {
		if n <= u.synced {
			delete(u.keys, key)
		}
	}
}

// Sync implements datastore.Datastore: all that was committed before is on the disk.
func (s *Store) Sync(ctx context.Context, prefix datastore.Key) error {
	number := s.unsynced.last()
	if err := s.Batching.Sync(ctx, prefix); err != nil {
		return err
	}
	s.unsynced.wrote(number)
	return nil
}

// Shutdown waits for a sync in progress, and no other is begun for readers. The datastore under the
// store stays open.
func (s *Store) Shutdown(ctx context.Context) error {
	s.unsynced.mu.Lock()
	s.unsynced.closed = true
	run := s.unsynced.run
	s.unsynced.mu.Unlock()
	if run == nil {
		return nil
	}
	select {
	case <-run.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Await returns once the changes of a key that were made before are on the disk.
func (s *Store) Await(ctx context.Context, key string) error {
	return s.awaitCommit(ctx, s.unsynced.of(key))
}

// awaitCommit returns once the commit with that number is on the disk.
func (s *Store) awaitCommit(ctx context.Context, number uint64) error {
	if number == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	for {
		run, err := s.syncRun(number)
		if run == nil {
			return err
		}
		limit := time.NewTimer(time.Until(run.began.Add(syncWait)))
		select {
		case <-run.done:
			err = run.err
		case <-limit.C:
			err = errUnsynced // Those who come while it is stuck do not wait each.
		case <-ctx.Done():
			err = cause(ctx)
		}
		limit.Stop()
		if err != nil {
			return err
		}
	}
}

func cause(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errUnsynced
	}
	return ctx.Err()
}

// syncRun returns a sync to wait for, or nil when the commit with that number is on the disk. A
// sync that has begun before may not have it: then there is another one to wait for.
func (s *Store) syncRun(number uint64) (*syncRun, error) {
	u := &s.unsynced
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.synced >= number:
		return nil, nil
	case u.run != nil:
		return u.run, nil
	case u.closed:
		return nil, errClosed
	}
	run := &syncRun{began: time.Now(), done: make(chan struct{})}
	u.run = run
	go func() {
		s.awaitCommits()
		if err := s.Sync(context.Background(), datastore.NewKey("/")); err != nil {
			run.err = fmt.Errorf("%w: %w", errUnsynced, err)
			log.Errorf("%s", run.err)
		}
		u.mu.Lock()
		u.run = nil
		u.mu.Unlock()
		close(run.done)
	}()
	return run, nil
}

// awaitCommits returns when the commit in progress, if any, has ended. A reader may wait for it, as
// it saw the value that is being replaced, and syncs would follow each other until then.
func (s *Store) awaitCommits() {
	s.commits.Lock()
	defer s.commits.Unlock()
}

// Get implements datastore.Read.
func (s *Store) Get(ctx context.Context, key datastore.Key) ([]byte, error) {
	value, err := s.get(ctx, key)
	if err == datastore.ErrNotFound && s.awaitReplaced(ctx, key) {
		value, err = s.get(ctx, key)
	}
	return value, s.orUnsynced(ctx, key, err)
}

// Has implements datastore.Read.
func (s *Store) Has(ctx context.Context, key datastore.Key) (bool, error) {
	exists, err := s.exists(ctx, key)
	if err == nil && !exists && s.awaitReplaced(ctx, key) {
		exists, err = s.exists(ctx, key)
	}
	return exists, s.orUnsynced(ctx, key, err)
}

// orUnsynced returns the error of a read, or that of the wait for its sync. The absence of a value
// is shown as well.
func (s *Store) orUnsynced(ctx context.Context, key datastore.Key, err error) error {
	if err != nil && !errors.Is(err, datastore.ErrNotFound) || !isShown(ctx) {
		return err
	}
	what, name, _ := s.keys.classify(key)
	if what != valueKind {
		return err
	}
	if failed := s.Await(ctx, name); failed != nil {
		return failed
	}
	return err
}

// Query implements datastore.Read.
func (s *Store) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if s.isFilterBuild(ctx, q) {
		return neverEnding(ctx, q), nil
	}
	results, err := s.list(ctx, q)
	if err != nil || !isShown(ctx) {
		return results, err
	}
	// What is committed from now on is not in the results, or is in none of the datastores that
	// take no snapshot: those write each change to the disk.
	if err := s.awaitCommit(ctx, s.unsynced.all()); err != nil && ctx.Err() == nil {
		log.Warnf("the pinset is listed all the same: %s", err)
	}
	return results, nil
}
