package crdtstore

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// holdDelete stops a delete of a key between its reads and its commit: a delete reads the
// elements twice, to know what it removes and to know what stays.
func holdDelete(d *disk, key string) (arrived, release chan struct{}) {
	arrived, release = make(chan struct{}), make(chan struct{})
	reads := 0
	d.onRead(func(prefix string) {
		if prefix != root.String()+elementPrefix+"/"+key {
			return
		}
		if reads++; reads == 2 {
			d.onRead(nil)
			close(arrived)
			<-release
		}
	})
	return arrived, release
}

// race has replica a merge b's addition of a key in the midst of a's delete of it.
func race(t *testing.T, plain bool) (a, b *replica) {
	a, b = start(t, newDisk(), plain), start(t, newDisk(), plain)
	noError(t, a.put("key", "first"))
	b.reach(a)
	b.hear(a.feed.last())
	await.Success(t, "the first value at b", func() error {
		if v := b.values()["/key"]; v != "first" {
			return fmt.Errorf("value %q", v)
		}
		return nil
	})
	noError(t, b.put("key", "second"))

	arrived, release := holdDelete(a.disk, "key")
	a.reach(b)
	deleted := make(chan error, 1)
	go func() { deleted <- a.delete("key") }()
	<-arrived
	a.hear(b.feed.last())
	await.Success(t, "the second value at a", func() error {
		if v := a.values()["/key"]; v != "second" {
			return fmt.Errorf("value %q", v)
		}
		return nil
	})
	close(release)
	noError(t, <-deleted)
	b.hear(a.heads())
	return a, b
}

// go-ds-crdt loses the value: this is the fault that the package contains. When this test
// fails, upstream has mended it, and the containment can go.
func TestUpstream_ADeleteLosesAConcurrentAddition(t *testing.T) {
	a, b := race(t, true)
	if got := a.values(); len(got) != 0 {
		t.Errorf("a has %v: go-ds-crdt keeps the value now", got)
	}
	if got := b.values()["/key"]; got != "second" {
		t.Errorf("b has %q", got)
	}
}

func TestStore_ADeleteKeepsAConcurrentAddition(t *testing.T) {
	a, b := race(t, false)
	await.Success(t, "both have the second value", func() error {
		if va, vb := a.values()["/key"], b.values()["/key"]; va != "second" || vb != "second" {
			return fmt.Errorf("%q and %q", va, vb)
		}
		return nil
	})
	converge(t, a, b)
}

// raceBatches commits one batch between the begin and the commit of another.
func raceBatches(t *testing.T, s *Store, first, second func(b *batch)) {
	t.Helper()
	outer, err := s.Batch(t.Context())
	noError(t, err)
	second(outer.(*batch))
	inner, err := s.Batch(t.Context())
	noError(t, err)
	first(inner.(*batch))
	noError(t, inner.Commit(t.Context()))
	noError(t, outer.Commit(t.Context()))
}

// Two deltas that remove one element each are merged at once; each of them saw the other's
// element live and made it the value.
func TestStore_TwoConcurrentDeletesLeaveNoValue(t *testing.T) {
	a, b := start(t, newDisk(), false), start(t, newDisk(), false)
	noError(t, a.put("key", "of a"))
	noError(t, b.put("key", "of b"))
	converge(t, a, b)
	m, err := a.store.Members(t.Context(), "key")
	noError(t, err)
	if len(m.Live) != 2 {
		t.Fatalf("members %+v", m)
	}
	ctx := t.Context()
	bury := func(id, value string) func(*batch) {
		return func(w *batch) {
			noError(t, w.Put(ctx, a.store.keys.value("key"), []byte(value)))
			noError(t, w.Put(ctx, a.store.keys.tomb("key", id), nil))
		}
	}
	raceBatches(t, a.store, bury(m.Live[0], "of b"), bury(m.Live[1], "of a"))
	if got := a.values(); len(got) != 0 {
		t.Errorf("a deleted key has %v", got)
	}
	if a.store.Mended() != 1 {
		t.Errorf("mended %d", a.store.Mended())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.told) != 0 {
		t.Errorf("last told: %v", a.told)
	}
}

// A tomb that is merged while its element is being merged wins.
func TestStore_ATombWinsOverItsElement(t *testing.T) {
	a, b := start(t, newDisk(), false), start(t, newDisk(), false)
	noError(t, b.put("key", "value"))
	m, err := b.store.Members(t.Context(), "key")
	noError(t, err)
	id := m.Live[0]
	data, err := b.store.Block(t.Context(), id)
	noError(t, err)
	ctx := t.Context()
	noError(t, a.store.Batching.Put(ctx, a.store.keys.block(id), data))
	raceBatches(t, a.store, func(w *batch) {
		noError(t, w.Put(ctx, a.store.keys.tomb("key", id), nil))
		noError(t, w.Delete(ctx, a.store.keys.value("key")))
	}, func(w *batch) {
		noError(t, w.Put(ctx, a.store.keys.element("key", id), nil))
		noError(t, w.Put(ctx, a.store.keys.value("key"), []byte("value")))
	})
	if got := a.values(); len(got) != 0 {
		t.Errorf("a removed element has %v", got)
	}
}

// Batches that are begun and never committed cost no memory, and nothing is missed for
// their sake.
func TestStore_ForgottenBatchesAreBounded(t *testing.T) {
	d := newDisk()
	s, err := Open(t.Context(), d, root, Options{})
	noError(t, err)
	ctx := t.Context()
	first, err := s.Batch(ctx)
	noError(t, err)
	for i := range 3 * maxRecent {
		w, err := s.Batch(ctx)
		noError(t, err)
		noError(t, w.Put(ctx, s.keys.element(fmt.Sprint("key", i), "id"), nil))
		noError(t, w.Commit(ctx))
	}
	if n := len(s.recent.last); n > maxRecent+1 {
		t.Errorf("%d keys are kept", n)
	}
	if !s.recent.raced("key0", first.(*batch).began) {
		t.Error("a change since the first batch was forgotten")
	}
}

// Two replicas that change few keys at once and merge each other's changes meanwhile end
// equal, with hooks that told it.
func TestStore_ConcurrentChangesConverge(t *testing.T) {
	a, b := start(t, newDisk(), false), start(t, newDisk(), false)
	a.reach(b)
	b.reach(a)
	const rounds, keys = 60, 3
	for round := range rounds {
		var wg sync.WaitGroup
		for i, r := range []*replica{a, b} {
			random := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			for range 2 {
				key, value, del := fmt.Sprint("key", random.IntN(keys)), fmt.Sprint(round, i), random.IntN(2) == 0
				wg.Go(func() {
					if del {
						noErrorHere(t, r.delete(key))
					} else {
						noErrorHere(t, r.put(key, value))
					}
				})
			}
		}
		wg.Go(func() { a.hear(b.heads()) })
		wg.Go(func() { b.hear(a.heads()) })
		wg.Wait()
	}
	converge(t, a, b)
	for name, r := range map[string]*replica{"a": a, "b": b} {
		for _, key := range []string{"key0", "key1", "key2"} {
			value, _, err := r.store.best(t.Context(), key, nil)
			noError(t, err)
			if got, ok := r.values()["/"+key]; ok != (value != nil) || got != string(value) {
				t.Errorf("%s has %q for %s, its elements make %q", name, got, key, value)
			}
		}
	}
	t.Logf("mended: %d at a, %d at b; ends with %v", a.store.Mended(), b.store.Mended(), maps.Clone(a.values()))
}

func noErrorHere(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}
