package crdtstore

import (
	"context"
	"encoding/binary"

	"github.com/ipfs/go-datastore"
)

// A delete removes the elements that are there, and a new value counts more than those of lower
// blocks. While a branch is walked, elements of the key may be still to come that the client has
// seen superseded, or has not seen at all: they would undo both (U51). Deletes and changes wait for
// the end of the walks, but not for ever: a branch may have a block that no peer has any more. So
// one that is made during a stalled walk (Own) is kept, and removes what that walk brings later:
//
//	early  a key that this peer deleted or changed, with a number that is above those of the walks
//	       that had begun when that was asked for. It is written in one commit with the change, and
//	       removed when no branch is open any more.
//
// The mark of an open branch has the number of its walk, and passes it on to its children. An element
// of a branch with a lower number than the change is removed in the commit that brings it; one of a
// branch that was announced later is not, for it may be a change that came after. The tomb is in no
// block: other peers learn of it when they compare their pinsets with this one.

// maxEarly bounds the changes that are kept, give or take a commit: more of them have to wait.
const maxEarly = 1 << 16

// earlyChanges are the marks, in memory.
type earlyChanges struct {
	number map[string]uint64 // by key
}

type ownKey struct{}

// Own marks the context of one commit of this peer's own changes that does not wait for the walks in
// progress, because they have stalled: its deletes and changes are kept. A commit that nothing is
// held back for must not be marked. What a walk brings during it was made at the same time at another
// peer, which would not hear of the tomb, so that the two would not agree. marks are those of the
// moments when the changes came, by their keys; one without came now.
func Own(ctx context.Context, marks map[string]uint64) context.Context {
	return context.WithValue(ctx, ownKey{}, &own{marks})
}

// own is a commit of this peer that does not wait for the walks.
type own struct{ marks map[string]uint64 }

func ownOf(ctx context.Context) *own {
	o, _ := ctx.Value(ownKey{}).(*own)
	return o
}

// changes reports whether the commit removes or replaces what a key has. A new pin is none.
func (s *Store) changes(ctx context.Context, key string, t *touched) (bool, error) {
	if len(t.tombs) > 0 {
		return true, nil
	}
	before, err := s.current(ctx, key)
	return before != nil && len(t.elements) > 0, err
}

// applyEarly notes a change that comes during a walk, or adds tombs for elements of a branch that
// an earlier change is newer than. It reports whether it did the latter. It needs the lock of commits.
func (s *Store) applyEarly(ctx context.Context, b datastore.Write, key string, t *touched) (applied bool, err error) {
	s.walks.order.Lock()
	defer s.walks.order.Unlock()
	if o := ownOf(ctx); o != nil {
		if len(s.walks.open) == 0 {
			return false, nil
		}
		if changes, err := s.changes(ctx, key, t); err != nil || !changes {
			return false, err
		}
		mark, ok := o.marks[key]
		if !ok {
			mark = s.walks.begun
		}
		number := max(mark+1, s.early.number[key])
		if err := b.Put(ctx, s.keys.early(key), binary.AppendUvarint(nil, number)); err != nil {
			return false, err
		}
		if s.early.number == nil {
			s.early.number = make(map[string]uint64)
		}
		s.early.number[key] = number
		s.walks.kept.Store(int64(len(s.early.number)))
		return false, nil
	}
	changed, ok := s.early.number[key]
	if !ok {
		return false, nil
	}
	for _, id := range t.elements {
		if since, open := s.walks.open[id]; !open || since >= changed {
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

// readEarly reads the marks of early changes.
func (s *Store) readEarly(ctx context.Context) error {
	s.early = earlyChanges{}
	keys, err := s.ids(ctx, s.keys.key(earlyPrefix))
	if err != nil {
		return err
	}
	for _, key := range keys {
		mark, err := s.Batching.Get(ctx, s.keys.early(key))
		if err != nil {
			return err
		}
		if s.early.number == nil {
			s.early.number = make(map[string]uint64)
		}
		number, _ := binary.Uvarint(mark)
		s.early.number[key], s.walks.begun = number, max(s.walks.begun, number)
	}
	s.walks.kept.Store(int64(len(keys)))
	return nil
}

// dropEarly puts the end of all early changes into a batch. It needs the lock of the order of walks.
func (s *Store) dropEarly(ctx context.Context, b datastore.Write) error {
	for key := range s.early.number {
		if err := b.Delete(ctx, s.keys.early(key)); err != nil {
			return err
		}
	}
	return nil
}
