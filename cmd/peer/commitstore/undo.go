package commitstore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// go-ds-crdt keeps the delta of a commit that failed, whatever was done of it, and adds it once more
// with the next one, as elements of a new and higher block: they would win over what other peers wrote
// since (U95 in docs/upstream-faults.md). Its Delete takes the elements of a key out of the delta, and
// puts tombs there for the elements that it lists. With the context of Undo these are those of the
// blocks that failed, whether they came into the set or not: such a block is still in the store, and
// can become a head at the next start, at this peer alone (U53).

type undoKey struct{}

func undoes(ctx context.Context) (blocks []string, ok bool) {
	blocks, ok = ctx.Value(undoKey{}).([]string)
	return blocks, ok
}

// Undo implements groupcommit.Effects.
func (e *Effects) Undo(ctx context.Context) context.Context {
	before, _ := undoes(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	return context.WithValue(ctx, undoKey{}, append(slices.Clone(before), e.blocks...))
}

// Query implements datastore.Read.
func (s *Store) Query(ctx context.Context, q query.Query) (results query.Results, err error) {
	if blocks, ok := undoes(ctx); ok && strings.HasPrefix(q.Prefix, s.elements) {
		return s.listUndone(ctx, q, blocks), nil
	}
	err = s.use(func() (err error) {
		results, err = s.Batching.Query(ctx, q)
		return err
	})
	return results, err
}

// listUndone lists the elements of a key that blocks can have left.
func (s *Store) listUndone(ctx context.Context, q query.Query, blocks []string) query.Results {
	if effects := effectsOf(ctx); effects != nil {
		effects.undo(blocks)
	}
	entries := make([]query.Entry, 0, len(blocks))
	for _, id := range blocks {
		entries = append(entries, query.Entry{Key: datastore.NewKey(q.Prefix).ChildString(id).String()})
	}
	return query.ResultsWithEntries(q, entries)
}

func (e *Effects) undo(blocks []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.undone = blocks
}

// hasValue is Has for the value of a key, which is asked before a commit adds the key.
func (s *Store) hasValue(ctx context.Context, key datastore.Key, effects *Effects, name string) (bool, error) {
	value, err := s.Get(ctx, key)
	if err != nil && !errors.Is(err, datastore.ErrNotFound) {
		return false, err
	}
	there := err == nil
	effects.mu.Lock()
	defer effects.mu.Unlock()
	if _, known := effects.before[name]; !known {
		if there && value == nil {
			value = []byte{}
		}
		effects.before[name] = value
	}
	return there, nil
}

// Before implements groupcommit.Effects.
func (e *Effects) Before(key api.Cid) (rec api.Pin, there, known bool) {
	e.mu.Lock()
	value, known := e.before[dshelp.NewKeyFromBinary(key.Bytes()).String()]
	e.mu.Unlock()
	if !known || value == nil {
		return api.Pin{}, false, known
	}
	if err := rec.ProtoUnmarshal(value); err != nil {
		return api.Pin{}, false, false
	}
	rec.Cid = key
	return rec, true, true
}
