package crdtstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-datastore"
)

// resumeWalks makes of what an earlier process left something that a repair goes on from:
// roots become heads (U28 in docs/upstream-faults.md), and open branches make the store dirty.
func (s *Store) resumeWalks(ctx context.Context) error {
	roots, err := s.ids(ctx, s.keys.key(rootPrefix))
	if err != nil {
		return err
	}
	open, err := s.ids(ctx, s.keys.key(openPrefix))
	if err != nil {
		return err
	}
	s.walks.roots, s.walks.open = make(map[string]rootBlock), make(map[string]uint64)
	s.walks.progress.init()
	if err := s.readEarly(ctx); err != nil {
		return err
	}
	b, err := s.Batching.Batch(ctx)
	if err != nil {
		return err
	}
	for _, id := range open {
		known, err := s.Batching.Has(ctx, s.keys.processed(id))
		if err != nil {
			return err
		}
		if known { // By a program that does not know the marks.
			err = b.Delete(ctx, s.keys.open(id))
		} else {
			s.walks.open[id], err = s.readOpen(ctx, id)
			s.walks.begun = max(s.walks.begun, s.walks.open[id])
		}
		if err != nil {
			return err
		}
	}
	merged := make(map[string]bool)
	for _, id := range roots {
		if err := errors.Join(b.Delete(ctx, s.keys.rootMark(id)), s.resumeRoot(ctx, b, id, merged)); err != nil {
			return err
		}
	}
	s.walks.begin(s.walks.begun, slices.Collect(maps.Keys(s.walks.open)))
	if len(s.walks.open) > 0 {
		log.Warnf("%d branches of the CRDT's DAG were not walked to their end when the peer ended: they are repaired now", len(s.walks.open))
		if err := b.Put(ctx, s.keys.dirty(), nil); err != nil {
			return err
		}
	}
	return b.Commit(ctx)
}

// resumeRoot makes a root a head. One that was not merged to its end is merged. merged are those that are
// processed when the batch is committed: others may link to them.
func (s *Store) resumeRoot(ctx context.Context, b datastore.Batch, id string, merged map[string]bool) error {
	if _, child := s.walks.open[id]; child {
		return nil
	}
	data, err := s.Block(ctx, id)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading block %s: %w", id, err)
	}
	node, err := decodeBlock(data)
	if err != nil { // Any peer of the cluster can announce one, which was fetched and not merged.
		log.Errorf("block %s, which another peer has announced, is none of the CRDT: %s", id, err)
		return nil
	}
	known, err := s.Batching.Has(ctx, s.keys.processed(id))
	if err != nil {
		return err
	}
	if !known {
		if err := s.merge(ctx, id, node); err != nil {
			return err
		}
		if err := b.Put(ctx, s.keys.processed(id), nil); err != nil {
			return err
		}
		merged[id] = true
	}
	children, err := s.unprocessed(ctx, node.links)
	if err != nil {
		return err
	}
	for _, c := range children {
		if merged[c] {
			continue
		}
		if err := s.putOpen(ctx, b, c, s.walks.begun); err != nil {
			return err
		}
		s.walks.open[c] = s.openSince(c, s.walks.begun)
	}
	for _, c := range node.links {
		if err := b.Delete(ctx, s.keys.head(c)); err != nil {
			return err
		}
	}
	return b.Put(ctx, s.keys.head(id), binary.AppendUvarint(nil, node.delta.GetPriority()))
}

// merge enters the elements and tombs of a block, of which some may be there already.
func (s *Store) merge(ctx context.Context, id string, node *block) error {
	keys := make(map[string]*touched)
	of := func(key string) *touched {
		key = datastore.NewKey(key).String()[1:]
		if keys[key] == nil {
			keys[key] = new(touched)
		}
		return keys[key]
	}
	for _, e := range node.delta.GetTombstones() {
		t := of(e.GetKey())
		t.tombs = append(t.tombs, datastore.NewKey(e.GetId()).String()[1:])
	}
	for _, e := range node.delta.GetElements() {
		t := of(e.GetKey())
		t.elements = append(t.elements, id)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := s.enter(ctx, key, keys[key]); err != nil {
			return err
		}
	}
	return nil
}

// Forget removes the marks of a store that is not open: what was not walked to its end is
// given up.
func Forget(ctx context.Context, inner datastore.Datastore, namespace datastore.Key) error {
	s := &Store{keys: newLayout(namespace)}
	marks := map[string]func(id string) datastore.Key{openPrefix: s.keys.open, rootPrefix: s.keys.rootMark, earlyPrefix: s.keys.early}
	for what, mark := range marks {
		ids, err := idsOf(ctx, inner, s.keys.key(what))
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := inner.Delete(ctx, mark(id)); err != nil {
				return err
			}
		}
	}
	return nil
}
