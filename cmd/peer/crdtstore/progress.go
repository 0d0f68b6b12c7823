package crdtstore

import "time"

// A branch may have a block that no peer has any more. Its walk stands still for good, beside others
// that go on: whether one goes on is known by its own blocks, not by those of others (U51).

// Walks are numbered in the order in which they began, also across restarts, so that it can be told
// which of them a change of this peer has to wait for.

// progress is when the walk of each open branch last came on. It is guarded by walks.mu.
type progress struct {
	walkOf map[string]*walk // by open branch
	walks  map[*walk]struct{}
	ended  chan struct{} // has room for one
}

// walk is what is walked from one root.
type walk struct {
	number uint64
	open   int // branches
	moved  time.Time
}

func (p *progress) init() {
	p.walkOf, p.walks, p.ended = make(map[string]*walk), make(map[*walk]struct{}), make(chan struct{}, 1)
}

// begin is called with the branches of a new walk. Those that an earlier one came to belong to that.
func (w *walks) begin(number uint64, ids []string) {
	if len(ids) > 0 {
		w.begun = max(w.begun, number)
		w.progress.begin(number, ids)
	}
}

func (p *progress) begin(number uint64, ids []string) {
	if len(ids) > 0 {
		p.add(&walk{number: number, moved: time.Now()}, ids)
	}
}

// move is called when an open branch of a walk with that number was processed, with the branches below
// it.
func (p *progress) move(id string, number uint64, below []string) {
	w, ok := p.walkOf[id]
	if !ok {
		p.begin(number, below)
		return
	}
	w.moved = time.Now()
	p.add(w, below)
	p.leave(id, w)
}

// leave takes a branch from its walk.
func (p *progress) leave(id string, w *walk) {
	delete(p.walkOf, id)
	if w.open--; w.open == 0 {
		delete(p.walks, w)
		select {
		case p.ended <- struct{}{}:
		default:
		}
	}
}

// add gives branches to a walk. One that a later walk has come to before is of the earlier one: what waits
// for that waits for the branch.
func (p *progress) add(w *walk, ids []string) {
	for _, id := range ids {
		if other, ok := p.walkOf[id]; ok {
			if other.number <= w.number {
				continue
			}
			p.leave(id, other)
		}
		p.walkOf[id] = w
		p.walks[w] = struct{}{}
		w.open++
	}
}

// Stalled reports whether a branch is open whose walk has not come on for some time. It does not wait
// for the disk.
func (s *Store) Stalled(after time.Duration) bool {
	_, stalled := s.walking(s.Mark(), after)
	return stalled
}

// Mark is a mark of now, for HoldsBack. It does not wait for the disk.
func (s *Store) Mark() uint64 {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	return s.walks.begun
}

// HoldsBack reports whether what came at a mark, and may be undone by older changes of other peers, has
// to wait: a branch is open whose walk had begun by then and came on within some time, or too many
// deletes are kept for those that have stalled. What walks bring that begin later was made at the same
// time, as far as this peer knows. So nothing waits for ever while others write without a pause. It does
// not wait for the disk.
func (s *Store) HoldsBack(mark uint64, stall time.Duration) bool {
	going, stalled := s.walking(mark, stall)
	return going || stalled && s.walks.kept.Load() >= maxEarly
}

// WalkEnded has a value after a walk has ended.
func (s *Store) WalkEnded() <-chan struct{} { return s.walks.progress.ended }

// walking reports whether of the walks that had begun at a mark some are going on, and some have stalled.
func (s *Store) walking(mark uint64, stall time.Duration) (going, stalled bool) {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	for w := range s.walks.progress.walks {
		switch {
		case w.number > mark:
		case time.Since(w.moved) <= stall:
			going = true
		default:
			stalled = true
		}
	}
	return going, stalled
}
