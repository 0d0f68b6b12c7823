package crdtstore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
)

// syncing is a datastore whose syncs are counted, take some time and may fail or hang.
type syncing struct {
	datastore.Batching
	count atomic.Int64
	takes time.Duration
	fails error
	hang  chan struct{}
}

func (s *syncing) Sync(context.Context, datastore.Key) error {
	s.count.Add(1)
	time.Sleep(s.takes) // The fault: a slow disk.
	if s.hang != nil {
		<-s.hang
	}
	return s.fails
}

func newSyncing(t *testing.T) (*Store, *syncing) {
	t.Helper()
	inner := &syncing{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	s, err := Open(t.Context(), inner, datastore.NewKey("/c"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, inner
}

// merge commits a value as go-ds-crdt does when another peer wrote it.
func mergeValue(t *testing.T, s *Store, key string) {
	t.Helper()
	b, err := s.Batch(t.Context())
	if err == nil {
		err = errors.Join(b.Put(t.Context(), s.keys.element(key, "ID"), nil), b.Put(t.Context(), s.keys.value(key), []byte("value")))
	}
	if err = errors.Join(err, b.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestUnsynced_WhatIsShownIsSynced(t *testing.T) {
	s, inner := newSyncing(t)
	mergeValue(t, s, "a")
	mergeValue(t, s, "b")
	read := func(ctx context.Context, key string, syncs int64) {
		t.Helper()
		_, errGet := s.Get(ctx, s.keys.value(key))
		_, errHas := s.Has(ctx, s.keys.value(key))
		if n := inner.count.Load(); errGet != nil && !errors.Is(errGet, datastore.ErrNotFound) || errHas != nil || n != syncs {
			t.Errorf("reading %s: %v, %v, %d syncs, want %d", key, errGet, errHas, n, syncs)
		}
	}
	shown := Shown(t.Context())
	read(t.Context(), "a", 0) // go-ds-crdt's own reads do not wait.
	read(shown, "other", 0)
	read(shown, "a", 1)
	read(shown, "b", 1) // The same sync had it.
	mergeValue(t, s, "a")
	read(shown, "b", 1)
	results, err := s.Query(shown, query.Query{Prefix: "/c/s/k"})
	if err != nil || inner.count.Load() != 2 {
		t.Errorf("a list: %v, %d syncs", err, inner.count.Load())
	}
	_ = results.Close()
	read(shown, "a", 2)
	if len(s.unsynced.keys) != 0 {
		t.Errorf("%d keys are remembered", len(s.unsynced.keys))
	}
}

// The absence of a removed value is shown as well.
func TestUnsynced_ARemovalIsSyncedBeforeItIsShown(t *testing.T) {
	s, inner := newSyncing(t)
	mergeValue(t, s, "a")
	if err := s.Repair(t.Context(), "a", []string{"ID"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(Shown(t.Context()), s.keys.value("a")); !errors.Is(err, datastore.ErrNotFound) || inner.count.Load() != 1 {
		t.Errorf("%v, %d syncs", err, inner.count.Load())
	}
}

// All that is merged during one sync shares the next one, and merges wait for none.
func TestUnsynced_ReadersShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, inner := newSyncing(t)
		inner.takes = 100 * time.Millisecond
		began := time.Now()
		read := make(chan error)
		for i := range 50 {
			key := string(rune('a'+i%25)) + string(rune('a'+i/25))
			mergeValue(t, s, key)
			go func() {
				_, err := s.Get(Shown(t.Context()), s.keys.value(key))
				read <- err
			}()
			synctest.Wait()
		}
		if time.Since(began) != 0 {
			t.Errorf("the merges took %s", time.Since(began))
		}
		for range 50 {
			if err := <-read; err != nil {
				t.Error(err)
			}
		}
		if n := inner.count.Load(); n != 2 || time.Since(began) != 200*time.Millisecond {
			t.Errorf("%d syncs in %s", n, time.Since(began))
		}
	})
}

// A disk that is full or broken delays no reader for long, and lists go on.
func TestUnsynced_ASyncThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, inner := newSyncing(t)
		mergeValue(t, s, "known")
		if err := s.Sync(t.Context(), datastore.NewKey("/")); err != nil {
			t.Fatal(err)
		}
		inner.hang = make(chan struct{})
		mergeValue(t, s, "new")
		began := time.Now()
		for range 3 {
			if _, err := s.Get(Shown(t.Context()), s.keys.value("new")); !errors.Is(err, errUnsynced) || time.Since(began) != syncWait {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
			if _, err := s.Get(Shown(t.Context()), s.keys.value("known")); err != nil {
				t.Error(err)
			}
			if results, err := s.Query(Shown(t.Context()), query.Query{}); err != nil {
				t.Error(err)
			} else {
				_ = results.Close()
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Shutdown(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("a shutdown that does not wait: %v", err)
		}
		close(inner.hang)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		mergeValue(t, s, "last")
		if _, err := s.Get(Shown(t.Context()), s.keys.value("last")); !errors.Is(err, errClosed) {
			t.Errorf("after the shutdown: %v", err)
		}
	})
}

func TestUnsynced_ASyncThatFailsIsTriedAgain(t *testing.T) {
	s, inner := newSyncing(t)
	inner.fails = errors.New("broken")
	mergeValue(t, s, "a")
	if _, err := s.Get(Shown(t.Context()), s.keys.value("a")); !errors.Is(err, errUnsynced) || !errors.Is(err, inner.fails) {
		t.Errorf("%v", err)
	}
	inner.fails = nil
	if _, err := s.Get(Shown(t.Context()), s.keys.value("a")); err != nil || inner.count.Load() != 2 {
		t.Errorf("%v, %d syncs", err, inner.count.Load())
	}
}

// What nobody reads is synced when it is much, so that little is remembered.
func TestUnsynced_ManyChangesAreSyncedWithoutAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, inner := newSyncing(t)
		for i := range maxUnsynced + 1 {
			mergeValue(t, s, string(rune('a'+i/100))+string(rune('a'+i%100)))
		}
		synctest.Wait()
		if n := inner.count.Load(); n != 1 || len(s.unsynced.keys) != 0 {
			t.Errorf("%d syncs, %d keys are remembered", n, len(s.unsynced.keys))
		}
	})
}
