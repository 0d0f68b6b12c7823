package digest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

var _ datastore.Batching = (*Store)(nil)

// Rows says what of a datastore are rows.
type Rows struct {
	// Prefix is below which they are.
	Prefix datastore.Key
	// Of returns the row's key for a key below Prefix, and whether it is one of a row.
	Of func(key string) (row string, ok bool)
	// To is the reverse: the key below Prefix of a row.
	To func(row string) (key string)
	// Undone reports whether a write with that error had no effect at all. nil: that is not known of
	// any.
	Undone func(error) bool
}

// Store passes everything on to the datastore under it and keeps the digest of its rows,
// from the first Count on. It is safe for concurrent use, and has to be the only way by
// which the rows are written.
type Store struct {
	datastore.Batching
	rows Rows

	// order orders the commits of rows, which may take as long as the disk is full.
	order sync.Mutex
	// mu guards the rest. Nothing is written with it held.
	mu      sync.Mutex
	buckets *[Buckets]Digest // nil before Count and after a commit that failed
	// counting is what was committed since the count in progress began; nil without one.
	counting *[Buckets]Digest
}

// New wraps a datastore. There is no digest before Count.
func New(inner datastore.Batching, rows Rows) *Store {
	return &Store{Batching: inner, rows: rows}
}

// row returns the key of the row that a key of the datastore is of.
func (s *Store) row(key datastore.Key) (string, bool) {
	prefix := s.rows.Prefix.String() + "/"
	text := key.String()
	if len(text) <= len(prefix) || text[:len(prefix)] != prefix {
		return "", false
	}
	return s.rows.Of(text[len(prefix):])
}

// ErrUnknown reports that there is no digest now: the rows have to be counted first.
var ErrUnknown = errors.New("the pinset is not counted yet")

// Current is the digest of all rows; ErrUnknown without one.
func (s *Store) Current() (total Digest, err error) {
	buckets, err := s.CurrentBuckets()
	if err != nil {
		return Digest{}, err
	}
	for _, b := range buckets {
		total.Count += b.Count
		total.Sum += b.Sum
	}
	return total, nil
}

// CurrentBuckets are the digests of all buckets; ErrUnknown without.
func (s *Store) CurrentBuckets() ([]Digest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets == nil {
		return nil, ErrUnknown
	}
	return copyOf(s.buckets), nil
}

func copyOf(buckets *[Buckets]Digest) []Digest { return append([]Digest(nil), buckets[:]...) }

// Count reads all rows and makes the digest of them. Changes go on meanwhile. Only one
// count may run at a time.
func (s *Store) Count(ctx context.Context) error {
	s.order.Lock()
	// The query sees the rows of this moment: no commit of rows comes between.
	results, err := s.query(ctx, false)
	if err == nil {
		s.mu.Lock()
		s.counting = new([Buckets]Digest)
		s.mu.Unlock()
	}
	s.order.Unlock()
	if err != nil {
		return err
	}
	counted := new([Buckets]Digest)
	err = each(ctx, results, func(key string, value []byte) {
		if row, ok := s.row(datastore.RawKey(key)); ok {
			counted[bucketOf(row)].add(hashOf(row, value))
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.counting
	s.counting = nil
	if err != nil {
		return fmt.Errorf("counting the pinset: %w", err)
	}
	if since == nil {
		return errors.New("counting the pinset: a change could not be written meanwhile")
	}
	for i := range counted {
		counted[i].Count += since[i].Count
		counted[i].Sum += since[i].Sum
	}
	s.buckets = counted
	return nil
}

func (s *Store) query(ctx context.Context, keysOnly bool) (query.Results, error) {
	return s.Batching.Query(ctx, query.Query{Prefix: s.rows.Prefix.String(), KeysOnly: keysOnly})
}

func each(ctx context.Context, results query.Results, f func(key string, value []byte)) error {
	defer results.Close()
	for r := range results.Next() {
		if r.Error != nil {
			return r.Error
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f(r.Key, r.Value)
	}
	return nil
}

// Put implements datastore.Datastore.
func (s *Store) Put(ctx context.Context, key datastore.Key, value []byte) error {
	row, ok := s.row(key)
	if !ok {
		return s.Batching.Put(ctx, key, value)
	}
	changes := map[string]change{row: {key: key, value: value, found: true}}
	return s.commit(ctx, changes, func() error { return s.Batching.Put(ctx, key, value) })
}

// Delete implements datastore.Datastore.
func (s *Store) Delete(ctx context.Context, key datastore.Key) error {
	row, ok := s.row(key)
	if !ok {
		return s.Batching.Delete(ctx, key)
	}
	return s.commit(ctx, map[string]change{row: {key: key}}, func() error { return s.Batching.Delete(ctx, key) })
}

// change is what becomes of a row.
type change struct {
	key   datastore.Key
	value []byte
	found bool
}

// commit writes changes of rows and keeps the digest.
func (s *Store) commit(ctx context.Context, changes map[string]change, write func() error) error {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	unknown := s.buckets == nil && s.counting == nil
	s.mu.Unlock()
	if unknown {
		return write()
	}
	type step struct {
		bucket      int
		before, now uint64
		was, is     bool
	}
	steps := make([]step, 0, len(changes))
	for row, c := range changes {
		st := step{bucket: bucketOf(row), is: c.found}
		before, err := s.Batching.Get(ctx, c.key)
		if err != nil && !errors.Is(err, datastore.ErrNotFound) {
			return err
		}
		if st.was = err == nil; st.was {
			st.before = hashOf(row, before)
		}
		if st.is {
			st.now = hashOf(row, c.value)
		}
		steps = append(steps, st)
	}
	err := write()
	if err != nil && s.rows.Undone != nil && s.rows.Undone(err) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// What was written is not known.
		s.buckets, s.counting = nil, nil
		return err
	}
	for _, digests := range []*[Buckets]Digest{s.buckets, s.counting} {
		if digests == nil {
			continue
		}
		for _, st := range steps {
			if st.was {
				digests[st.bucket].remove(st.before)
			}
			if st.is {
				digests[st.bucket].add(st.now)
			}
		}
	}
	return nil
}

// Batch implements datastore.Batching.
func (s *Store) Batch(ctx context.Context) (datastore.Batch, error) {
	inner, err := s.Batching.Batch(ctx)
	if err != nil {
		return nil, err
	}
	return &batch{store: s, inner: inner}, nil
}

type batch struct {
	store   *Store
	inner   datastore.Batch
	changes map[string]change // of each row the last
}

func (b *batch) note(key datastore.Key, c change) {
	row, ok := b.store.row(key)
	if !ok {
		return
	}
	if b.changes == nil {
		b.changes = make(map[string]change)
	}
	c.key = key
	b.changes[row] = c
}

// Put implements datastore.Batch.
func (b *batch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	b.note(key, change{value: bytes.Clone(value), found: true})
	return b.inner.Put(ctx, key, value)
}

// Delete implements datastore.Batch.
func (b *batch) Delete(ctx context.Context, key datastore.Key) error {
	b.note(key, change{})
	return b.inner.Delete(ctx, key)
}

// Commit implements datastore.Batch.
func (b *batch) Commit(ctx context.Context) error {
	if len(b.changes) == 0 {
		return b.inner.Commit(ctx)
	}
	return b.store.commit(ctx, b.changes, func() error { return b.inner.Commit(ctx) })
}
