package raftstate

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// errStopped ends what waits for the end of a restore.
var errStopped = errors.New("the peer was stopped while a snapshot was being restored")

// Restored is what a snapshot changed in the state.
type Restored struct {
	Written, Removed []api.Cid
}

// restore is a snapshot that is being put into the state.
type restore struct {
	rows    map[datastore.Key]struct{}
	changed map[datastore.Key]struct{} // Also by restores before it that failed half-way.
	ended   chan struct{}
}

func (r *restore) put(ctx context.Context, store datastore.Datastore, key datastore.Key, row []byte) {
	r.rows[key] = struct{}{}
	if old, err := store.Get(ctx, key); err != nil || !bytes.Equal(old, row) {
		r.changed[key] = struct{}{}
	}
}

// Offline reads the last snapshot of a stopped peer into a store, which is empty before. The store
// must be safe for concurrent use. What is written to the state later counts as rows of a snapshot
// too: marks are taken out, also of pins that were exported by ipfs-cluster-service.
func Offline(cfg *raft.Config, store datastore.Datastore) (state.State, error) {
	wrapped := NewStore(store, cfg.DatastoreNamespace)
	wrapped.offline = true
	wrapped.beginRestore()
	return raft.OfflineState(cfg, wrapped)
}

// OnRestore sets what is called after a snapshot was restored that changed the state. It must not
// block: Raft waits.
func (s *Store) OnRestore(f func(Restored)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restored = f
}

// beginRestore makes what is put from now on the rows of a snapshot.
func (s *Store) beginRestore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandonLocked()
	s.restore = &restore{
		rows: make(map[datastore.Key]struct{}), changed: s.unfinished, ended: make(chan struct{}),
	}
	if s.unfinished = nil; s.restore.changed == nil {
		s.restore.changed = make(map[datastore.Key]struct{})
	}
	if !s.offline {
		s.pending.Store(s.restore)
	}
	for w := range s.watches {
		w.all = true
	}
}

// abandonRestore ends a restore that failed, as on a full disk. Raft restores another snapshot, or asks
// the leader for one again, which finds the rows that this one wrote to be as they should (U104 in
// docs/upstream-faults.md).
func (s *Store) abandonRestore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandonLocked()
}

func (s *Store) abandonLocked() {
	if s.restore == nil {
		return
	}
	s.unfinished = s.restore.changed
	s.pending.Store(nil)
	close(s.restore.ended)
	s.restore = nil
}

// Query implements datastore.Read. A query of the state waits for the end of a restore. The goroutine that
// restores a snapshot goes on before Raft has told its logger, and the state has rows until then that the
// snapshot does not have: a snapshot of its own that the peer took in between had them for good.
func (s *Store) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if prefix := datastore.NewKey(q.Prefix); s.namespace.Equal(prefix) || s.namespace.IsDescendantOf(prefix) {
		if err := s.awaitRestore(ctx); err != nil {
			return nil, err
		}
	}
	return s.Datastore.Query(ctx, q)
}

func (s *Store) awaitRestore(ctx context.Context) error {
	for {
		pending := s.pending.Load() // Not by the lock, which a write to a full disk may hold.
		if pending == nil {
			return nil
		}
		select {
		case <-pending.ended:
		case <-s.stopped: // It may have no end.
			return errStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// endRestore removes what the snapshot does not have: upstream only puts (U32 in
// docs/upstream-faults.md). A removal that fails, as on a full disk, is tried again until it succeeds, as an
// entry is (U104). The restore goes on meanwhile. If the peer is stopped first, it has no end: the state may
// have rows that the snapshot does not have, and the next start restores that again.
func (s *Store) endRestore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restore == nil {
		return
	}
	done := s.restore
	removed := make(map[datastore.Key]struct{})
	if err := s.untilWritten(func() error { return s.removeOthers(done.rows, removed) }); err != nil {
		return
	}
	s.restore = nil
	defer func() { // What the snapshot does not have is gone.
		close(s.snapshot)
		s.snapshot = make(chan struct{})
		s.pending.Store(nil)
		close(done.ended)
	}()
	change := Restored{
		Written: s.cids(slices.Collect(maps.Keys(done.changed))), Removed: s.cids(slices.Collect(maps.Keys(removed))),
	}
	if s.restored == nil || len(change.Written)+len(change.Removed) == 0 {
		return
	}
	log.Infof("a snapshot of the leader was installed: %d pins are new or changed, %d are gone", len(change.Written), len(change.Removed))
	s.restored(change)
}

// removeOthers removes all keys of the state but the kept ones and enters those that it has removed.
func (s *Store) removeOthers(kept, removed map[datastore.Key]struct{}) error {
	ctx := context.Background()
	results, err := s.Datastore.Query(ctx, query.Query{Prefix: s.namespace.String(), KeysOnly: true})
	if err != nil {
		return err
	}
	entries, err := results.Rest()
	if err != nil {
		return err
	}
	for _, e := range entries {
		key := datastore.NewKey(e.Key)
		if _, keep := kept[key]; keep {
			continue
		}
		if err := s.Datastore.Delete(ctx, key); err != nil && !errors.Is(err, datastore.ErrNotFound) {
			return err
		}
		removed[key] = struct{}{}
	}
	return nil
}

func (s *Store) cids(keys []datastore.Key) []api.Cid {
	var cids []api.Cid
	for _, key := range keys {
		if c, err := s.cid(key); err == nil {
			cids = append(cids, c)
		}
	}
	return cids
}

// restoreLogger is the logger that Raft is given. Raft tells nobody of a restore but its logger,
// and the state tells an empty snapshot from none by nothing: so the messages of
// github.com/hashicorp/raft v1.7.3 are the signal. It makes a logger with the size of the snapshot in the
// goroutine that applies entries, right before it restores, and has applied nothing else when it
// logs the end. TestRestore and TestPeer_RaftSnapshotOnARunningPeer fail when that changes.
type restoreLogger struct {
	hclog.Logger
	store *Store
}

const (
	argSnapshotSize  = "size-in-bytes"
	msgRestored      = "restored from snapshot"     // at start
	msgInstalled     = "Installed remote snapshot"  // from the leader
	msgRestoreFailed = "failed to restore snapshot" // either
)

// With implements hclog.Logger.
func (l restoreLogger) With(args ...any) hclog.Logger {
	if slices.Contains(args, any(argSnapshotSize)) {
		l.store.beginRestore()
	}
	return restoreLogger{l.Logger.With(args...), l.store}
}

// Info implements hclog.Logger.
func (l restoreLogger) Info(msg string, args ...any) {
	if msg == msgRestored || msg == msgInstalled {
		l.store.endRestore()
	}
	l.Logger.Info(msg, args...)
}

// Error implements hclog.Logger.
func (l restoreLogger) Error(msg string, args ...any) {
	if msg == msgRestoreFailed {
		l.store.abandonRestore()
	}
	l.Logger.Error(msg, args...)
}
