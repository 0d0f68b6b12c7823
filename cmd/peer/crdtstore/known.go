package crdtstore

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// Who writes a key asks the same several times. For a new key: whoever writes it reads the record,
// dsstate asks whether there is one, and go-ds-crdt reads its priority. For a removal: go-ds-crdt
// lists the elements to know what it removes, and again to know what stays; then others read whether
// the record is gone. Elements, value and priority of a key change in one batch, so that an answer
// holds until a commit changes the key.

// maxKnown is how many keys are remembered at least, and half of the most: more than one peer removes
// in the seconds in which that is read.
const maxKnown = 1 << 15

// knownKeys is what is known of keys without reading them. It is safe for concurrent use.
type knownKeys struct {
	mu      sync.Mutex
	absent  map[string]struct{}      // keys that have no value now
	older   map[string]struct{}      // those that were noted before them
	listed  map[string][]query.Entry // elements of keys
	changes uint64                   // how many commits have changed keys
}

// isAbsent reports whether a key is known to have no value.
func (a *knownKeys) isAbsent(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.absent[key]
	if !ok {
		_, ok = a.older[key]
	}
	return ok
}

// before is taken before a key is read, for add and addElements.
func (a *knownKeys) before() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changes
}

// add notes that a key was read and has no value, unless a commit may have changed that since.
func (a *knownKeys) add(key string, before uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changes == before {
		a.addLocked(key)
	}
}

// removed notes that the commit that was made last has removed the value of a key. It needs the
// lock of commits.
func (a *knownKeys) removed(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addLocked(key)
}

func (a *knownKeys) addLocked(key string) {
	if a.absent == nil || len(a.absent) >= maxKnown {
		a.older, a.absent = a.absent, make(map[string]struct{})
	}
	a.absent[key] = struct{}{}
}

// elements returns the entries of a key's elements that were listed last.
func (a *knownKeys) elements(key string) ([]query.Entry, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entries, ok := a.listed[key]
	return entries, ok
}

// maxElements is how many elements of a key are remembered.
const maxElements = 16

// addElements is add for the elements of a key.
func (a *knownKeys) addElements(key string, entries []query.Entry, before uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changes != before || len(entries) > maxElements {
		return
	}
	if a.listed == nil || len(a.listed) >= maxKnown {
		a.listed = make(map[string][]query.Entry)
	}
	a.listed[key] = entries
}

// changed is called after each commit of keys, whether it succeeded or not, and before anybody is
// told of it.
func (a *knownKeys) changed(keys ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changes++
	for _, key := range keys {
		delete(a.absent, key)
		delete(a.older, key)
		delete(a.listed, key)
	}
}

// get is Get of the datastore, which is not asked for what is known to be absent.
func (s *Store) get(ctx context.Context, key datastore.Key) ([]byte, error) {
	what, k, id := s.keys.classify(key)
	switch what {
	case valueKind, priorityKind:
	case blockKind:
		return s.getBlock(ctx, key, id)
	default:
		return s.Batching.Get(ctx, key)
	}
	if s.known.isAbsent(k) {
		return nil, datastore.ErrNotFound
	}
	before := s.known.before()
	value, err := s.Batching.Get(ctx, key)
	if err == datastore.ErrNotFound && what == valueKind {
		s.known.add(k, before)
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
	if s.known.isAbsent(k) {
		return false, nil
	}
	before := s.known.before()
	has, err := s.Batching.Has(ctx, key)
	if err == nil && !has {
		s.known.add(k, before)
	}
	return has, err
}

// list is Query of the datastore, which is not asked again for the elements of a key.
func (s *Store) list(ctx context.Context, q query.Query) (query.Results, error) {
	key, ok := strings.CutPrefix(q.Prefix, s.keys.root+elementPrefix+"/")
	plain := q.KeysOnly && !q.ReturnsSizes && len(q.Filters)+len(q.Orders)+q.Limit+q.Offset == 0
	if !ok || !plain || key == "" {
		return s.Batching.Query(ctx, q)
	}
	entries, ok := s.known.elements(key)
	if !ok {
		before := s.known.before()
		results, err := s.Batching.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		entries, err = results.Rest()
		if err = errors.Join(err, results.Close()); err != nil {
			return nil, err
		}
		s.known.addElements(key, entries, before)
	}
	return listedResults(q, entries), nil
}

// listedResults are results that need no goroutine.
func listedResults(q query.Query, entries []query.Entry) query.Results {
	r := &entryResults{query: q, next: make(chan query.Result, len(entries))}
	for _, e := range entries {
		r.next <- query.Result{Entry: e}
	}
	close(r.next)
	return r
}

// entryResults implements query.Results.
type entryResults struct {
	query query.Query
	next  chan query.Result
}

// Query implements query.Results.
func (r *entryResults) Query() query.Query { return r.query }

// Next implements query.Results.
func (r *entryResults) Next() <-chan query.Result { return r.next }

// NextSync implements query.Results.
func (r *entryResults) NextSync() (query.Result, bool) {
	result, ok := <-r.next
	return result, ok
}

// Rest implements query.Results.
func (r *entryResults) Rest() (entries []query.Entry, err error) {
	for result := range r.next {
		entries = append(entries, result.Entry)
	}
	return entries, nil
}

// Close implements query.Results.
func (r *entryResults) Close() error { return nil }

// Done implements query.Results.
func (r *entryResults) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}
