package crdtstore

import (
	"context"
	"sync"

	"github.com/ipfs/go-datastore"
)

// A write of a new key asks three times for what the key does not have: whoever writes it reads the
// record, dsstate asks whether there is one, and go-ds-crdt reads its priority. Value and priority
// are written and removed in one batch, so that the first answer is that of all, until a commit
// changes the key.

// maxAbsent bounds the keys that are remembered.
const maxAbsent = 4096

// absentKeys are keys that have no value now. It is safe for concurrent use.
type absentKeys struct {
	mu      sync.Mutex
	keys    map[string]struct{}
	changes uint64 // how many commits have changed keys
}

// has reports whether a key is known to have no value.
func (a *absentKeys) has(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.keys[key]
	return ok
}

// before is taken before a key is read, for add.
func (a *absentKeys) before() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changes
}

// add notes that a key was read and has no value, unless a commit may have changed that since.
func (a *absentKeys) add(key string, before uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changes != before {
		return
	}
	if a.keys == nil || len(a.keys) >= maxAbsent {
		a.keys = make(map[string]struct{})
	}
	a.keys[key] = struct{}{}
}

// changed is called after each commit of keys, whether it succeeded or not, and before anybody is
// told of it.
func (a *absentKeys) changed(keys ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changes++
	for _, key := range keys {
		delete(a.keys, key)
	}
}

// get is Get of the datastore, which is not asked for what is known to be absent.
func (s *Store) get(ctx context.Context, key datastore.Key) ([]byte, error) {
	what, k, _ := s.keys.classify(key)
	if what != valueKind && what != priorityKind {
		return s.Batching.Get(ctx, key)
	}
	if s.absent.has(k) {
		return nil, datastore.ErrNotFound
	}
	before := s.absent.before()
	value, err := s.Batching.Get(ctx, key)
	if err == datastore.ErrNotFound && what == valueKind {
		s.absent.add(k, before)
	}
	return value, err
}

// exists is get for Has.
func (s *Store) exists(ctx context.Context, key datastore.Key) (bool, error) {
	what, k, _ := s.keys.classify(key)
	if what == dirtyKind && s.walks.unmarked.Load() { // It is asked within the repair interval (U91).
		if err := s.markDirty(ctx, key); err != nil {
			return false, err
		}
	}
	if what != valueKind {
		return s.Batching.Has(ctx, key)
	}
	if s.absent.has(k) {
		return false, nil
	}
	before := s.absent.before()
	has, err := s.Batching.Has(ctx, key)
	if err == nil && !has {
		s.absent.add(k, before)
	}
	return has, err
}
