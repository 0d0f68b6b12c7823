// Package crdtstore is the datastore that go-ds-crdt is given, with faults of it
// contained, and with what a repair of single keys needs.
//
//   - Values (values.go): the value of a key is that of its best live element. go-ds-crdt
//     merges deletes and additions of one key at once and may leave another value, or
//     none, for ever (U26 in docs/upstream-faults.md). A commit that raced with another
//     one about the same key gets the value that both together make.
//   - Branches (walks.go): a part of the DAG whose walk was begun is known as such until
//     it ended, also after the process was killed. go-ds-crdt forgets it (U27).
//   - Blocks (branch.go): missing ones are fetched together with those below them (U96).
//   - Changes of other peers (unsynced.go): what readers of the state are shown is on the
//     disk (U90).
//
// Terms are those of go-ds-crdt. A key has elements, each named by the ID of the block
// that added it; a tomb removes one element for good; what is not tombed is live.
package crdtstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-datastore"
	logging "github.com/ipfs/go-log/v2"
)

var log = logging.Logger("crdtstore")

var _ datastore.Batching = (*Store)(nil)

// Options are the settings of a Store.
type Options struct {
	// Changed is called when the store itself gave a key another value, or none (nil),
	// than go-ds-crdt was about to, so none of its hooks told the last truth. It must not
	// call the store and must not block. nil: nobody is told.
	Changed func(key string, value []byte)
	// Again is called with the error of a write and the context of that, may wait, and reports
	// whether the write is tried again: only one of which nothing was done. nil: none is.
	Again func(ctx context.Context, err error) bool
}

// Store passes everything on to the datastore under it. It is safe for concurrent use, and
// has to be the only way by which the CRDT's namespace is written.
type Store struct {
	datastore.Batching
	keys  layout
	opts  Options
	fetch Fetch // nil: missing blocks are left to Bitswap

	// commits orders the commits that change elements or tombs, and guards recent.
	commits sync.Mutex
	recent  recentCommits
	mended  atomic.Uint64

	walks    walks
	early    earlyChanges // guarded by walks.order
	unsynced unsynced
	known    knownKeys
}

// Open wraps the datastore of a CRDT in a namespace. What an earlier process left of
// branches that it was walking is taken up: see Unfinished.
func Open(ctx context.Context, inner datastore.Batching, namespace datastore.Key, opts Options) (*Store, error) {
	s := &Store{Batching: inner, keys: newLayout(namespace), opts: opts}
	s.recent.init()
	if err := s.resumeWalks(ctx); err != nil {
		return nil, fmt.Errorf("reading which branches of the CRDT are unfinished: %w", err)
	}
	return s, nil
}

// Mended is how many values were not what go-ds-crdt was about to leave.
func (s *Store) Mended() uint64 { return s.mended.Load() }

// retry writes until it is done or the error is told. A walk that is told one is begun again by a
// repair only, and forgotten if the disk does not take the mark of that either (U91).
func (s *Store) retry(ctx context.Context, write func() error) error {
	for {
		err := write()
		if err == nil || s.opts.Again == nil || !s.opts.Again(ctx, err) {
			return err
		}
	}
}

// Put implements datastore.Datastore.
func (s *Store) Put(ctx context.Context, key datastore.Key, value []byte) error {
	return s.retry(ctx, func() error { return s.put(ctx, key, value) })
}

func (s *Store) put(ctx context.Context, key datastore.Key, value []byte) error {
	switch kind, k, id := s.keys.classify(key); kind {
	case processedKind:
		return s.markProcessed(ctx, key, id)
	case blockKind, headKind:
		inner, err := s.Batching.Batch(ctx)
		if err != nil {
			return err
		}
		b := &batch{store: s, inner: inner, began: s.begin()}
		defer b.finish()
		if err := b.Put(ctx, key, value); err != nil {
			return err
		}
		return b.commit(ctx)
	case dirtyKind:
		return s.markDirty(ctx, key)
	default:
		err := s.Batching.Put(ctx, key, value)
		if kind == valueKind {
			s.known.changed(k)
		}
		return err
	}
}

// Delete implements datastore.Datastore.
func (s *Store) Delete(ctx context.Context, key datastore.Key) error {
	if kind, _, _ := s.keys.classify(key); kind == dirtyKind && s.Unfinished() > 0 {
		// A repair marks the store clean also when a branch could not be fetched (U27).
		return nil
	}
	return s.retry(ctx, func() error { return s.Batching.Delete(ctx, key) })
}

// Batch implements datastore.Batching. What its user reads between here and Commit is
// what the batch was made from: see values.go.
func (s *Store) Batch(ctx context.Context) (datastore.Batch, error) {
	inner, err := s.Batching.Batch(ctx)
	if err != nil {
		return nil, err
	}
	return &batch{store: s, inner: inner, began: s.begin()}, nil
}
