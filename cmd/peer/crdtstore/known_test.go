package crdtstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
)

// reads counts the reads of single keys, and the lists.
type reads struct {
	datastore.Batching
	mu    sync.Mutex
	count int
	lists int
	fails error // of commits, which are made all the same
}

func (r *reads) counted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
}

func (r *reads) Get(ctx context.Context, key datastore.Key) ([]byte, error) {
	r.counted()
	return r.Batching.Get(ctx, key)
}

func (r *reads) Has(ctx context.Context, key datastore.Key) (bool, error) {
	r.counted()
	return r.Batching.Has(ctx, key)
}

func (r *reads) Query(ctx context.Context, q query.Query) (query.Results, error) {
	r.mu.Lock()
	r.lists++
	r.mu.Unlock()
	return r.Batching.Query(ctx, q)
}

// reset returns how many lists were made since the last time.
func (r *reads) reset() (lists int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lists, r.lists = r.lists, 0
	return lists
}

func (r *reads) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := r.Batching.Batch(ctx)
	return failingBatch{b, r}, err
}

type failingBatch struct {
	datastore.Batch
	store *reads
}

func (b failingBatch) Commit(ctx context.Context) error {
	return errors.Join(b.Batch.Commit(ctx), b.store.fails)
}

func openCounted(t *testing.T) (*Store, *reads) {
	t.Helper()
	inner := &reads{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	s, err := Open(t.Context(), inner, root, Options{})
	noError(t, err)
	inner.count = 0
	return s, inner
}

// set gives a key a value as go-ds-crdt does; nil removes it.
func set(t *testing.T, s *Store, key string, value []byte) error {
	t.Helper()
	b, err := s.Batch(context.Background())
	noError(t, err)
	noError(t, s.writeValue(context.Background(), b, key, value, 1))
	return b.Commit(context.Background())
}

func (s *Store) has(t *testing.T, key string) bool {
	t.Helper()
	has, err := s.Has(context.Background(), s.keys.value(key))
	noError(t, err)
	_, errValue := s.Get(context.Background(), s.keys.value(key))
	_, errPriority := s.Get(context.Background(), s.keys.priority(key))
	if (errValue == nil) != has || (errPriority == nil) != has {
		t.Errorf("key %s: has %t, value %v, priority %v", key, has, errValue, errPriority)
	}
	return has
}

// A write of a new key reads the store once.
func TestStore_ReadsAnAbsentKeyOnce(t *testing.T) {
	s, inner := openCounted(t)
	for range 3 {
		if s.has(t, "key") {
			t.Error("it is there")
		}
	}
	if inner.count != 1 {
		t.Errorf("%d reads", inner.count)
	}
	noError(t, set(t, s, "key", []byte("value")))
	if !s.has(t, "key") {
		t.Error("it is not there after the commit")
	}
	noError(t, set(t, s, "key", nil))
	if s.has(t, "key") {
		t.Error("it is there after the removal")
	}
	inner.fails = errors.New("it may be made or not")
	if err := set(t, s, "key", []byte("again")); err == nil || !s.has(t, "key") {
		t.Errorf("after a commit that failed: %v", err)
	}
	inner.fails = nil
	if has, err := s.Has(t.Context(), s.keys.value("plain")); has || err != nil {
		t.Errorf("%t, %v", has, err)
	}
	noError(t, s.Put(t.Context(), s.keys.value("plain"), []byte("value"))) // Without a batch.
	if has, err := s.Has(t.Context(), s.keys.value("plain")); !has || err != nil {
		t.Errorf("%t, %v", has, err)
	}
}

func TestStore_RepairsAreSeen(t *testing.T) {
	a, b := start(t, newDisk(), false), start(t, newDisk(), false)
	noError(t, b.put("key", "value"))
	if a.store.has(t, "key") {
		t.Error("it is there")
	}
	m, err := b.store.Members(t.Context(), "key")
	noError(t, err)
	data, err := b.store.Block(t.Context(), m.Live[0])
	noError(t, err)
	noError(t, a.store.adopt(t, "key", m.Live[0], data))
	if !a.store.has(t, "key") {
		t.Error("it is not there after the repair")
	}
}

// Many keys are forgotten again, the oldest first.
func TestKnownKeys_AreBounded(t *testing.T) {
	var a knownKeys
	for i := range 4*maxKnown + 1 {
		a.add(fmt.Sprint(i), a.before())
	}
	if n := len(a.absent) + len(a.older); n > 2*maxKnown || !a.isAbsent(fmt.Sprint(4*maxKnown)) || !a.isAbsent(fmt.Sprint(3*maxKnown)) {
		t.Errorf("%d keys", n)
	}
	a.changed(fmt.Sprint(3 * maxKnown))
	if a.isAbsent(fmt.Sprint(3 * maxKnown)) {
		t.Error("a key that was changed is known as absent")
	}
}

// A removal lists the elements once, and what it removed is known to be gone.
func TestStore_ARemovalReadsItsKeyOnce(t *testing.T) {
	d := newDisk()
	counted := &reads{Batching: d.Batching}
	d.Batching = counted
	r := start(t, d, false)
	for _, key := range []string{"a", "b"} {
		noError(t, r.put(key, "value of "+key))
	}
	noError(t, r.put("a", "second"))
	counted.reset()
	noError(t, r.delete("a"))
	if lists := counted.reset(); lists != 1 {
		t.Errorf("%d lists", lists)
	}
	if r.store.has(t, "a") || !r.store.known.isAbsent("a") {
		t.Error("it is there, or not known to be gone")
	}
	noError(t, r.put("a", "third"))
	noError(t, r.delete("a"))
	if got := r.values(); len(got) != 1 || got["/b"] == "" {
		t.Errorf("values %v", got)
	}
	m, err := r.store.Members(t.Context(), "a")
	noError(t, err)
	if len(m.Live) != 0 || len(m.Tombs) != 3 {
		t.Errorf("members %+v", m)
	}
}

// Whoever reads after a commit sees it, whatever others read meanwhile.
func TestStore_ReadsAreNeverOlderThanACommit(t *testing.T) {
	s, _ := openCounted(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					key := s.keys.value(fmt.Sprint(rand.IntN(4)))
					_, _ = s.Has(context.Background(), key)
					_, _ = s.Get(context.Background(), key)
				}
			}
		})
	}
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			key := fmt.Sprint(n)
			for i := range 2000 {
				if want := i%2 == 0; want {
					noError(t, set(t, s, key, []byte("value")))
				} else {
					noError(t, set(t, s, key, nil))
				}
				if got := s.has(t, key); got != (i%2 == 0) {
					t.Errorf("key %s, step %d: has %t", key, i, got)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	wg.Wait()
}

func TestStore_IsQuietWhenNothingIsWalked(t *testing.T) {
	s, _ := openCounted(t)
	ctx := t.Context()
	if s.Quiet("OWN") {
		t.Error("quiet about a block that is not here")
	}
	noError(t, s.Put(ctx, s.keys.block("OWN"), []byte("block")))
	if !s.Quiet("OWN") || s.Quiet("OTHER") {
		t.Error("not quiet, or about another block")
	}
	noError(t, s.Put(ctx, s.keys.block("OTHER"), []byte("block")))
	if s.Quiet("OWN") {
		t.Error("quiet while another block is not merged")
	}
	noError(t, s.Put(ctx, s.keys.head("OTHER"), []byte{1})) // Not processed: a branch is open.
	if s.Quiet("OWN") {
		t.Error("quiet while a branch is open")
	}
}
