package crdtstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	crdtpb "github.com/ipfs/go-ds-crdt/pb"
)

// go-ds-crdt reads the elements and tombs of a key, and then commits a batch with the
// value that follows from them. It does so under no lock for tombs (set.putTombs), so a
// batch may be made from what another commit has changed meanwhile (U26). Batches know
// when they began; one that touches a key which another batch has changed since then gets
// the value of all elements and tombs together. So does one that removes elements.

// recentCommits are the keys that commits changed while a batch was open.
type recentCommits struct {
	sequence uint64 // of the last commit
	open     map[uint64]int
	last     map[string]uint64 // by key; empty while no batch is open
	// forgotten: batches that began before it are taken to race with every key. It bounds
	// last, also when batches are begun and never committed.
	forgotten uint64
}

// maxRecent bounds the keys that are remembered.
const maxRecent = 4096

func (r *recentCommits) init() { r.open, r.last = make(map[uint64]int), make(map[string]uint64) }

// begin is called when a batch is made.
func (s *Store) begin() uint64 {
	s.commits.Lock()
	defer s.commits.Unlock()
	s.recent.open[s.recent.sequence]++
	return s.recent.sequence
}

// end needs the lock.
func (r *recentCommits) end(began uint64) {
	if r.open[began]--; r.open[began] <= 0 {
		delete(r.open, began)
	}
	switch {
	case len(r.open) == 0:
		clear(r.last)
	case len(r.last) > maxRecent || len(r.open) > maxRecent:
		clear(r.last)
		clear(r.open)
		r.forgotten = r.sequence
	}
}

// raced reports whether a key was changed since a batch was begun. It needs the lock.
func (r *recentCommits) raced(key string, began uint64) bool {
	return began < r.forgotten || r.last[key] > began
}

// touched is what a batch changes of one key.
type touched struct {
	elements, tombs []string
	// writes is whether the batch sets or deletes the value, and value what it sets.
	writes bool
	value  []byte
}

// batch is a batch that is mended at its commit.
type batch struct {
	store *Store
	inner datastore.Batch
	began uint64
	ended bool

	keys   map[string]*touched
	heads  []string
	blocks []arrivedBlock
}

// arrivedBlock is a block that is written.
type arrivedBlock struct {
	id   string
	data []byte
}

// Put implements datastore.Batch.
func (b *batch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	b.note(key, value)
	return b.inner.Put(ctx, key, value)
}

// Delete implements datastore.Batch.
func (b *batch) Delete(ctx context.Context, key datastore.Key) error {
	if what, k, _ := b.store.keys.classify(key); what == valueKind {
		t := b.of(k)
		t.writes, t.value = true, nil
	}
	return b.inner.Delete(ctx, key)
}

func (b *batch) note(key datastore.Key, value []byte) {
	switch what, k, id := b.store.keys.classify(key); what {
	case elementKind:
		t := b.of(k)
		t.elements = append(t.elements, id)
	case tombKind:
		t := b.of(k)
		t.tombs = append(t.tombs, id)
	case valueKind:
		t := b.of(k)
		t.writes, t.value = true, bytes.Clone(value)
	case priorityKind:
		b.of(k)
	case headKind:
		b.heads = append(b.heads, id)
	case blockKind:
		b.blocks = append(b.blocks, arrivedBlock{id, value})
	}
}

func (b *batch) of(key string) *touched {
	if b.keys == nil {
		b.keys = make(map[string]*touched)
	}
	t, ok := b.keys[key]
	if !ok {
		t = new(touched)
		b.keys[key] = t
	}
	return t
}

// Commit implements datastore.Batch.
func (b *batch) Commit(ctx context.Context) error {
	defer b.finish()
	return b.store.retry(ctx, func() error { return b.commit(ctx) })
}

func (b *batch) commit(ctx context.Context) error {
	s := b.store
	if err := s.noteBlocks(ctx, b); err != nil {
		return err
	}
	if len(b.keys) == 0 {
		if err := b.inner.Commit(ctx); err != nil {
			return err
		}
		s.becameHeads(b.heads)
		return nil
	}
	changed, err := b.commitKeys(ctx)
	if err != nil {
		return err
	}
	s.becameHeads(b.heads)
	for key, value := range changed {
		s.mended.Add(1)
		log.Infof("two changes of key %s were merged at once: its value was mended", key)
		if s.opts.Changed != nil {
			s.opts.Changed(key, value)
		}
	}
	return nil
}

func (b *batch) finish() {
	b.store.commits.Lock()
	defer b.store.commits.Unlock()
	if !b.ended {
		b.ended = true
		b.store.recent.end(b.began)
	}
}

// commitKeys commits elements, tombs and values, and returns the values that are not what
// the batch set.
func (b *batch) commitKeys(ctx context.Context) (changed map[string][]byte, err error) {
	s := b.store
	s.commits.Lock()
	defer s.commits.Unlock()
	for key, t := range b.keys {
		early, err := s.applyEarly(ctx, b.inner, key, t)
		if err != nil {
			return nil, err
		}
		if !early && !s.recent.raced(key, b.began) {
			if err := b.setLeft(ctx, key, t); err != nil {
				return nil, err
			}
			continue
		}
		value, priority, err := s.best(ctx, key, t)
		if err != nil {
			return nil, fmt.Errorf("merging two changes of key %s: %w", key, err)
		}
		before := t.value
		if !t.writes {
			if before, err = s.current(ctx, key); err != nil {
				return nil, err
			}
		}
		if err := s.writeValue(ctx, b.inner, key, value, priority); err != nil {
			return nil, err
		}
		if !same(before, value) {
			if changed == nil {
				changed = make(map[string][]byte)
			}
			changed[key] = value
		}
	}
	keys := slices.Collect(maps.Keys(b.keys))
	if err := s.commitChanges(ctx, b.inner, keys...); err != nil {
		return nil, err
	}
	s.committed(keys...)
	for key, t := range b.keys {
		if _, mended := changed[key]; !mended && t.writes && t.value == nil {
			s.known.removed(key)
		}
	}
	return changed, nil
}

// setLeft gives a key of which elements are removed the value of what is left. go-ds-crdt would read the
// blocks of that over the network, and wait for those that nobody has (U100 in docs/upstream-faults.md). It
// needs the lock of commits.
func (b *batch) setLeft(ctx context.Context, key string, t *touched) error {
	if len(t.tombs) == 0 {
		return nil
	}
	value, priority, err := b.store.left(ctx, key, t)
	if err != nil {
		return fmt.Errorf("reading what is left of key %s: %w", key, err)
	}
	if t.writes && value == nil && t.value == nil {
		return nil
	}
	t.writes, t.value = true, value
	return b.store.writeValue(ctx, b.inner, key, value, priority)
}

// left is best, which mostly need not be asked: a removal removes all elements, which were listed for it.
func (s *Store) left(ctx context.Context, key string, pending *touched) (value []byte, priority uint64, err error) {
	var elements []string
	if entries, ok := s.known.elements(key); ok {
		for _, e := range entries {
			elements = append(elements, e.Key[strings.LastIndexByte(e.Key, '/')+1:])
		}
	} else if elements, err = s.ids(ctx, s.keys.key(elementPrefix, "/", key)); err != nil {
		return nil, 0, err
	}
	if len(live(append(elements, pending.elements...), pending.tombs)) == 0 {
		return nil, 0, nil
	}
	return s.best(ctx, key, pending)
}

// commitChanges commits what a batch changes of keys. It needs the lock of commits.
func (s *Store) commitChanges(ctx context.Context, b datastore.Batch, keys ...string) error {
	number := s.unsynced.changing(keys...)
	err := b.Commit(ctx)
	s.known.changed(keys...)
	if s.unsynced.changed(number) {
		_, _ = s.syncRun(number) // It logs its failure, and the next commit begins another.
	}
	return err
}

// committed notes that keys have changed. It needs the lock of commits.
func (s *Store) committed(keys ...string) {
	s.recent.sequence++
	for _, key := range keys {
		s.recent.last[key] = s.recent.sequence
	}
}

// same compares two values; nil is no value.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func (s *Store) current(ctx context.Context, key string) ([]byte, error) {
	value, err := s.Batching.Get(ctx, s.keys.value(key))
	switch {
	case err == datastore.ErrNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case value == nil:
		return []byte{}, nil
	}
	return value, nil
}

// writeValue sets the value of a key, or removes it when value is nil.
func (s *Store) writeValue(ctx context.Context, w datastore.Write, key string, value []byte, priority uint64) error {
	if value == nil {
		if err := w.Delete(ctx, s.keys.value(key)); err != nil {
			return err
		}
		return w.Delete(ctx, s.keys.priority(key))
	}
	if err := w.Put(ctx, s.keys.value(key), value); err != nil {
		return err
	}
	// go-ds-crdt stores priorities one higher than they are.
	return w.Put(ctx, s.keys.priority(key), binary.AppendUvarint(nil, priority+1))
}

// best is the value of the best live element of a key, and its priority: the highest
// priority, then the greatest value, as set.findBestValue of go-ds-crdt. It is nil when no
// element is live. pending is what is about to be committed.
func (s *Store) best(ctx context.Context, key string, pending *touched) (value []byte, priority uint64, err error) {
	elements, tombs, err := s.members(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	if pending != nil {
		elements, tombs = append(elements, pending.elements...), append(tombs, pending.tombs...)
	}
	for _, id := range live(elements, tombs) {
		b, err := s.readBlock(ctx, id)
		if errors.Is(err, datastore.ErrNotFound) {
			if b, err = s.shownBlock(ctx, key); err == nil {
				log.Errorf("the block %s is not in the datastore, so that key %s may keep a value that it has no more", id, key)
			}
		}
		if err != nil {
			return nil, 0, err
		}
		v, p := b.greatest(key), b.delta.GetPriority()
		if v != nil && (value == nil || p > priority || p == priority && bytes.Compare(v, value) > 0) {
			value, priority = v, p
		}
	}
	return value, priority, nil
}

// shownBlock stands for a block that is lost: it may be what gave the key its value, which is not to be
// lost with it.
func (s *Store) shownBlock(ctx context.Context, key string) (*block, error) {
	b := new(block)
	value, err := s.current(ctx, key)
	if err != nil || value == nil {
		return b, err
	}
	data, err := s.Batching.Get(ctx, s.keys.priority(key))
	if err != nil {
		return nil, err
	}
	priority, n := binary.Uvarint(data)
	if n <= 0 || priority == 0 {
		return nil, fmt.Errorf("the priority of key %s cannot be read", key)
	}
	b.delta.Priority = priority - 1
	b.delta.Elements = []*crdtpb.Element{{Key: "/" + key, Value: value}}
	return b, nil
}

// live are the elements without a tomb, each once.
func live(elements, tombs []string) []string {
	slices.Sort(elements)
	return slices.DeleteFunc(slices.Compact(elements), func(id string) bool { return slices.Contains(tombs, id) })
}

// members are the IDs of a key's elements and tombs.
func (s *Store) members(ctx context.Context, key string) (elements, tombs []string, err error) {
	if elements, err = s.ids(ctx, s.keys.key(elementPrefix, "/", key)); err != nil {
		return nil, nil, err
	}
	tombs, err = s.ids(ctx, s.keys.key(tombPrefix, "/", key))
	return elements, tombs, err
}

func (s *Store) ids(ctx context.Context, prefix datastore.Key) ([]string, error) {
	return idsOf(ctx, s.Batching, prefix)
}

// idsOf are the last parts of the keys right below a prefix.
func idsOf(ctx context.Context, from datastore.Read, prefix datastore.Key) (ids []string, err error) {
	results, err := from.Query(ctx, query.Query{Prefix: prefix.String(), KeysOnly: true})
	if err != nil {
		return nil, err
	}
	defer results.Close()
	for r := range results.Next() {
		if r.Error != nil {
			return nil, r.Error
		}
		// A longer key has this one as its prefix.
		if id := strings.TrimPrefix(r.Key, prefix.String()+"/"); !strings.Contains(id, "/") {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
