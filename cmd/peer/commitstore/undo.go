package commitstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// go-ds-crdt keeps the delta of a commit that failed, whatever was done of it, and adds it once more
// with the next one, as elements of a new and higher block: they would win over what other peers wrote
// since (U95 in docs/upstream-faults.md). Its Delete takes the elements of a key out of the delta, and
// puts tombs there for the elements that it lists. With the context of Undo these are those of the
// blocks that failed, whether they came into the set or not: such a block is still in the store, and
// can become a head at the next start, at this peer alone (U53).
//
// A tomb never leaves the delta of a commit that fails, so that one for each block of each try would
// let it grow without end (U101). Mostly none is needed: as long as nothing else has come, the same
// changes make the same block. A block that never came into the set is deleted. A tomb is put once. Nothing
// is undone of a block that other peers were told of (U102).

// leftovers are what the tries of a commit that failed have left.
type leftovers struct {
	again  string              // the block of the last try, which may be made once more
	merged bool                // it may be in the set
	blocks []string            // those of earlier tries that may be in the set
	drop   []string            // those that are not, and are to be deleted where they are in the store
	told   []string            // those of which other peers know without a head on the disk, and what these undid
	tombs  map[string]struct{} // the elements for which there are tombs in the delta
}

const (
	// maxDropped bounds the blocks of failed tries that the store did not take, as far as is known.
	maxDropped = 1024
	// maxTombs bounds the tombs of failed tries: they fit into a delta together with the largest group.
	maxTombs = 1500
)

// errTooManyTries ends the growth of what failed tries leave. At the next start their blocks are heads.
var errTooManyTries = errors.New("too many tries of one commit have failed when it was half made: restart the peer when its disk is well")

type undoKey struct{}

// Undo implements groupcommit.Effects.
func (e *Effects) Undo(ctx context.Context, told bool) context.Context {
	next := effectsOf(ctx)
	e.mu.Lock()
	left := e.left
	switch {
	case told: // The delta is gone.
		left = leftovers{told: left.abandoned(e.block)}
		if made := cmp.Or(e.block, e.left.again); made != "" { // It is not written again where it was.
			left.told = append(left.told, made)
		}
	case e.durable: // The tombs stay in the delta.
		left = leftovers{tombs: left.tombs}
	case e.other:
		left.supersede("", false)
	case e.block != "" && e.block != left.again:
		left.supersede(e.block, e.merged)
	default:
		left.merged = left.merged || e.merged
	}
	e.mu.Unlock()
	next.mu.Lock()
	defer next.mu.Unlock()
	next.left = left
	return context.WithValue(ctx, undoKey{}, true)
}

// supersede notes that another block than that of the last try is made.
func (l *leftovers) supersede(block string, merged bool) {
	switch {
	case l.again == "":
	case l.merged:
		l.blocks = append(slices.Clone(l.blocks), l.again)
	default:
		l.drop = append(slices.Clone(l.drop), l.again)
		l.drop = l.drop[max(0, len(l.drop)-maxDropped):]
	}
	l.again, l.merged = block, merged
}

// abandoned are the blocks that are undone, or below a head, when another one is on the disk. The one that
// was made last is not among them.
func (l *leftovers) abandoned(made string) []string {
	ids := slices.Concat(l.blocks, l.drop, l.told)
	if made != "" && l.again != "" && made != l.again {
		ids = append(ids, l.again)
	}
	return ids
}

// beginBlock notes that a block is written, which was not in the store. It refuses one that would leave
// behind that of a try before, which is to be undone by it first.
func (s *Store) beginBlock(ctx context.Context, e *Effects, id string) error {
	e.mu.Lock()
	last := e.left.again
	e.mu.Unlock()
	if last != "" && last != id {
		has, err := s.has(ctx, datastore.NewKey(s.blocks+last))
		if err != nil {
			return err
		}
		if has {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.other = true
			return groupcommit.ErrUndoFirst
		}
	}
	e.begin(id)
	return nil
}

// Query implements datastore.Read. What go-ds-crdt looks for while it merges is what is left of a key, whose
// blocks it would wait for (U100).
func (s *Store) Query(ctx context.Context, q query.Query) (results query.Results, err error) {
	if strings.HasPrefix(q.Prefix, s.elements) {
		effects := effectsOf(ctx)
		switch {
		case effects == nil || effects.isMerging():
			if s.opts.Values {
				return query.ResultsWithEntries(q, nil), nil
			}
		case ctx.Value(undoKey{}) != nil:
			return s.listUndone(ctx, q, effects)
		}
	}
	err = s.use(func() (err error) {
		results, err = s.Batching.Query(ctx, q)
		return err
	})
	return results, err
}

// listUndone lists the elements of a key that failed tries may have left, and that are not in the delta
// yet.
func (s *Store) listUndone(ctx context.Context, q query.Query, effects *Effects) (query.Results, error) {
	if err := s.dropBlocks(ctx, effects); err != nil {
		return nil, err
	}
	effects.mu.Lock()
	defer effects.mu.Unlock()
	var entries []query.Entry
	for _, id := range effects.left.blocks {
		name := datastore.NewKey(q.Prefix).ChildString(id).String()
		if _, ok := effects.left.tombs[name]; ok {
			continue
		}
		if len(effects.left.tombs) >= maxTombs {
			return nil, errTooManyTries
		}
		if effects.left.tombs == nil {
			effects.left.tombs = make(map[string]struct{})
		}
		effects.left.tombs[name] = struct{}{}
		entries = append(entries, query.Entry{Key: name})
	}
	return query.ResultsWithEntries(q, entries), nil
}

// dropBlocks deletes blocks of failed tries that never came into the set, once in a try. None of them is
// made again: other heads, or fewer writes, have made another block of the same commit, and stay so.
func (s *Store) dropBlocks(ctx context.Context, effects *Effects) error {
	effects.mu.Lock()
	ids := effects.left.drop
	done := effects.dropped
	effects.mu.Unlock()
	if done {
		return nil
	}
	var present []string
	for _, id := range ids {
		key := datastore.NewKey(s.blocks + id)
		has, err := s.has(ctx, key)
		if err != nil {
			return err
		}
		if !has {
			continue
		}
		if err := s.Delete(ctx, key); err != nil {
			return fmt.Errorf("delete a block of a commit that failed: %w", err)
		}
		present = append(present, id)
	}
	if len(present) > 0 {
		s.opts.Abandoned(ctx, present)
	}
	effects.mu.Lock()
	defer effects.mu.Unlock()
	effects.dropped = true
	return nil
}

// withoutUndone is Get with the context of Undo, for the value of a key. It returns false when no failed
// try has left anything that is to be undone.
func (s *Store) withoutUndone(ctx context.Context, name string) (value []byte, undone bool, err error) {
	key, ok := s.valueOf(name)
	if !ok || s.opts.Without == nil || ctx.Value(undoKey{}) == nil {
		return nil, false, nil
	}
	effects := effectsOf(ctx)
	effects.mu.Lock()
	ids := slices.Clone(effects.left.blocks)
	if effects.left.merged && effects.left.again != "" {
		ids = append(ids, effects.left.again)
	}
	effects.mu.Unlock()
	if len(ids) == 0 {
		return nil, false, nil
	}
	err = s.use(func() (err error) {
		value, err = s.opts.Without(ctx, strings.TrimPrefix(key, "/"), ids)
		return err
	})
	if err == nil && value == nil {
		err = datastore.ErrNotFound
	}
	return value, true, err
}

// has is Has of the datastore under it.
func (s *Store) has(ctx context.Context, key datastore.Key) (exists bool, err error) {
	err = s.use(func() error {
		exists, err = s.Batching.Has(ctx, key)
		return err
	})
	return exists, err
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
