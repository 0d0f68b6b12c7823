package crdtstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-datastore"
)

// Members are the IDs of the elements of a key.
type Members struct {
	// Live elements have no tomb. Tombs may be of elements that are not here.
	Live, Tombs []string
}

// Members returns the elements and tombs of a key.
func (s *Store) Members(ctx context.Context, key string) (Members, error) {
	elements, tombs, err := s.members(ctx, key)
	if err != nil {
		return Members{}, err
	}
	slices.Sort(tombs)
	return Members{Live: live(elements, tombs), Tombs: tombs}, nil
}

// Value returns the value of a key, nil for none. It does not wait until that is on the disk.
func (s *Store) Value(ctx context.Context, key string) ([]byte, error) {
	if s.known.isAbsent(key) {
		return nil, nil
	}
	return s.current(ctx, key)
}

// Without returns the value that a key would have without the elements of some blocks, nil for none.
func (s *Store) Without(ctx context.Context, key string, ids []string) ([]byte, error) {
	s.commits.Lock()
	defer s.commits.Unlock()
	value, _, err := s.best(ctx, key, &touched{tombs: ids})
	return value, err
}

// Buried returns the values that a key had by elements that are removed, as far as their blocks
// are here. They are in no order.
func (s *Store) Buried(ctx context.Context, key string) (values [][]byte, err error) {
	return s.valuesBelow(ctx, tombPrefix, key)
}

// Elements returns the values that a key had by elements that came to this store, whether or not
// newer ones have superseded them or tombs removed them. They are in no order.
func (s *Store) Elements(ctx context.Context, key string) (values [][]byte, err error) {
	return s.valuesBelow(ctx, elementPrefix, key)
}

// valuesBelow are the values that blocks give a key, whose IDs are below a prefix.
func (s *Store) valuesBelow(ctx context.Context, prefix, key string) (values [][]byte, err error) {
	ids, err := s.ids(ctx, s.keys.key(prefix, "/", key))
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		b, err := s.readBlock(ctx, id)
		if errors.Is(err, datastore.ErrNotFound) {
			continue // The tomb came before its element, or without it (Repair).
		}
		if err != nil {
			return nil, err
		}
		if value := b.greatest(key); value != nil {
			values = append(values, value)
		}
	}
	return values, nil
}

// Repair enters tombs and elements of a key, as another peer has them, and gives the key the value of what
// is live then. The blocks of the elements were kept before. With neither the value alone is corrected. An
// element that is live and not named stays; one with a tomb is not live. All is one commit: the elements are
// what has taken the place of those that the tombs remove, and a delete of only some of them would leave the
// others, which bring the pin back.
func (s *Store) Repair(ctx context.Context, key string, tombs, elements []string) error {
	for _, id := range elements {
		if has, err := s.HasBlock(ctx, id); err != nil || !has {
			return cmp.Or(err, fmt.Errorf("block %s is not here: %w", id, datastore.ErrNotFound))
		}
	}
	t := &touched{tombs: tombs, elements: elements}
	if err := s.enter(ctx, key, t); err != nil {
		return err
	}
	if t.writes && s.opts.Changed != nil {
		s.opts.Changed(key, t.value)
	}
	return nil
}

// Keep stores the block of an element of a key that another peer has, for Repair. Nothing of it is shown.
func (s *Store) Keep(ctx context.Context, key, id string, data []byte) error {
	if err := verify(id, data); err != nil {
		return err
	}
	node, err := decodeBlock(data)
	if err != nil {
		return fmt.Errorf("decoding block %s: %w", id, err)
	}
	if node.greatest(key) == nil {
		return fmt.Errorf("block %s has no element of key %s", id, key)
	}
	// Not as a block that arrived: it is no root of a walk.
	return s.Batching.Put(ctx, s.keys.block(id), data)
}

// enter commits elements and tombs of a key with the value that follows, and sets writes
// and value of t when that is another one than before.
func (s *Store) enter(ctx context.Context, key string, t *touched) error {
	s.commits.Lock()
	defer s.commits.Unlock()
	before, err := s.current(ctx, key)
	if err != nil {
		return err
	}
	value, priority, err := s.best(ctx, key, t)
	if err != nil {
		return err
	}
	b, err := s.Batching.Batch(ctx)
	if err != nil {
		return err
	}
	put := func(k datastore.Key) {
		if err == nil {
			err = b.Put(ctx, k, nil)
		}
	}
	for _, id := range t.elements {
		put(s.keys.element(key, id))
	}
	for _, id := range t.tombs {
		put(s.keys.tomb(key, id))
	}
	if err != nil {
		return err
	}
	if err := s.writeValue(ctx, b, key, value, priority); err != nil {
		return err
	}
	if err := s.commitChanges(ctx, b, key); err != nil {
		return err
	}
	s.committed(key)
	if t.writes = !same(before, value); t.writes {
		t.value = value
	}
	return nil
}

// Abandon forgets blocks of commits that failed as roots: what they did is undone by another block, and
// they are not to become heads.
func (s *Store) Abandon(ctx context.Context, ids []string) {
	s.walks.order.Lock()
	defer s.walks.order.Unlock()
	for _, id := range ids {
		if err := s.Batching.Delete(ctx, s.keys.rootMark(id)); err != nil {
			log.Warnf("forgetting the block %s of a failed commit: %s", id, err)
		}
	}
	s.walks.change(func(w *walks) {
		for _, id := range ids {
			delete(w.roots, id)
			w.arrived.remove(id)
		}
	})
}
