package crdtstore

import (
	"context"
	"encoding/binary"

	"github.com/ipfs/go-datastore"
)

// A delete removes the elements that are there. While a branch is walked, older elements of the
// key may be still to come, which the client that deletes has seen superseded, or has not seen at
// all: they would undo the delete (U51). Deletes wait for the end of the walks, but not for ever:
// a branch may have a block that no peer has any more. So a delete that is made during a stalled walk
// (Own) is kept, and removes what that walk brings later:
//
//	early  a key that this peer deleted, with the number of the delete. It is written in one
//	       commit with the tombs, and removed when no branch is open any more.
//
// The mark of an open branch has the number of the last early delete before its walk began, and
// passes it on to its children. An element of a branch that is older than the delete is removed in
// the commit that brings it; one of a branch that was announced later is not, for it may be an
// addition that came after. The tomb is in no block: other peers learn of it when they compare
// their pinsets with this one.

// maxEarly bounds the deletes that are kept, give or take a commit: more of them have to wait.
const maxEarly = 1 << 16

// earlyDeletes are the marks, in memory.
type earlyDeletes struct {
	now     uint64            // the number of the last one
	deletes map[string]uint64 // by key
}

type ownKey struct{}

// own is a commit of this peer that does not wait for the walks.
type own struct {
	block string // the ID of the last one that it put
}

// Own marks the context of one commit of this peer's own changes that does not wait for the walks in
// progress, because they have stalled: its deletes are kept. A commit that nothing is held back for
// must not be marked. What a walk brings during it was made at the same time at another peer, which
// would not hear of the tomb, so that the two would not agree.
func Own(ctx context.Context) context.Context { return context.WithValue(ctx, ownKey{}, new(own)) }

func ownOf(ctx context.Context) *own {
	o, _ := ctx.Value(ownKey{}).(*own)
	return o
}

// rewrites reports whether the commit also adds the key. Its tombs are merged first.
func (s *Store) rewrites(ctx context.Context, o *own, key string) (bool, error) {
	if o.block == "" {
		return false, nil
	}
	node, err := s.readBlock(ctx, o.block)
	if err != nil {
		return false, err
	}
	return node.greatest(key) != nil, nil
}

// applyEarly notes a delete that comes during a walk, or adds tombs for elements of a branch that
// an earlier delete is newer than. It reports whether it did that. It needs the lock of commits.
func (s *Store) applyEarly(ctx context.Context, b datastore.Write, key string, t *touched) (applied bool, err error) {
	s.walks.order.Lock()
	defer s.walks.order.Unlock()
	if o := ownOf(ctx); o != nil {
		if len(s.walks.open) == 0 || len(t.tombs) == 0 {
			return false, nil
		}
		if rewritten, err := s.rewrites(ctx, o, key); err != nil || rewritten {
			return false, err
		}
		number := s.early.now + 1
		if err := b.Put(ctx, s.keys.early(key), binary.AppendUvarint(nil, number)); err != nil {
			return false, err
		}
		if s.early.deletes == nil {
			s.early.deletes = make(map[string]uint64)
		}
		s.early.now, s.early.deletes[key] = number, number
		s.walks.kept.Store(int64(len(s.early.deletes)))
		return false, nil
	}
	deleted, ok := s.early.deletes[key]
	if !ok {
		return false, nil
	}
	for _, id := range t.elements {
		if since, open := s.walks.open[id]; !open || since >= deleted {
			continue
		}
		if err := b.Put(ctx, s.keys.tomb(key, id), nil); err != nil {
			return false, err
		}
		t.tombs, applied = append(t.tombs, id), true
	}
	return applied, nil
}

// putOpen puts the mark of an open branch into a batch. It needs the lock of the order of walks.
func (s *Store) putOpen(ctx context.Context, b datastore.Write, id string, since uint64) error {
	return b.Put(ctx, s.keys.open(id), binary.AppendUvarint(nil, s.openSince(id, since)))
}

// openSince is the number for a branch to which a walk comes with that one, and maybe others before.
func (s *Store) openSince(id string, since uint64) uint64 {
	if before, open := s.walks.open[id]; open {
		return min(before, since)
	}
	return since
}

// readOpen reads the mark of an open branch. One without a number is older than all deletes.
func (s *Store) readOpen(ctx context.Context, id string) (since uint64, err error) {
	mark, err := s.Batching.Get(ctx, s.keys.open(id))
	since, _ = binary.Uvarint(mark)
	return since, err
}

// readEarly reads the marks of deletes.
func (s *Store) readEarly(ctx context.Context) error {
	s.early = earlyDeletes{}
	keys, err := s.ids(ctx, s.keys.key(earlyPrefix))
	if err != nil {
		return err
	}
	for _, key := range keys {
		mark, err := s.Batching.Get(ctx, s.keys.early(key))
		if err != nil {
			return err
		}
		if s.early.deletes == nil {
			s.early.deletes = make(map[string]uint64)
		}
		number, _ := binary.Uvarint(mark)
		s.early.deletes[key], s.early.now = number, max(s.early.now, number)
	}
	s.walks.kept.Store(int64(len(keys)))
	return nil
}

// dropEarly puts the end of all early deletes into a batch. It needs the lock of the order of walks.
func (s *Store) dropEarly(ctx context.Context, b datastore.Write) error {
	for key := range s.early.deletes {
		if err := b.Delete(ctx, s.keys.early(key)); err != nil {
			return err
		}
	}
	return nil
}
