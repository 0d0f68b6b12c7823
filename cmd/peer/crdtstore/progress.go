package crdtstore

import "time"

// A branch may have a block that no peer has any more. Its walk stands still for good, beside others
// that go on: whether one goes on is known by its own blocks, not by those of others (U51).

// progress is when the walk of each open branch last came on. It is guarded by walks.mu.
type progress struct {
	walkOf map[string]*walk // by open branch
	walks  map[*walk]struct{}
}

// walk is what is walked from one root.
type walk struct {
	open  int // branches
	moved time.Time
}

func (p *progress) init() {
	p.walkOf, p.walks = make(map[string]*walk), make(map[*walk]struct{})
}

// begin is called with the branches of a new walk. Those that an earlier one came to belong to that.
func (p *progress) begin(ids []string) {
	if len(ids) > 0 {
		p.add(&walk{moved: time.Now()}, ids)
	}
}

// move is called when an open branch was processed, with the branches below it.
func (p *progress) move(id string, below []string) {
	w, ok := p.walkOf[id]
	if !ok {
		p.begin(below)
		return
	}
	w.moved = time.Now()
	p.add(w, below)
	delete(p.walkOf, id)
	if w.open--; w.open == 0 {
		delete(p.walks, w)
	}
}

func (p *progress) add(w *walk, ids []string) {
	for _, id := range ids {
		if _, ok := p.walkOf[id]; ok {
			continue
		}
		p.walkOf[id] = w
		p.walks[w] = struct{}{}
		w.open++
	}
}

// Stalled reports whether a branch is open whose walk has not come on for some time. It does not wait
// for the disk.
func (s *Store) Stalled(after time.Duration) bool {
	_, stalled := s.walking(after)
	return stalled
}

// HoldsBack reports whether what may be undone by older changes of other peers has to wait: a branch
// is open whose walk came on within some time, or too many deletes are kept for those that have
// stalled. It does not wait for the disk.
func (s *Store) HoldsBack(stall time.Duration) bool {
	going, stalled := s.walking(stall)
	return going || stalled && s.walks.kept.Load() >= maxEarly
}

func (s *Store) walking(stall time.Duration) (going, stalled bool) {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	for w := range s.walks.progress.walks {
		if time.Since(w.moved) <= stall {
			going = true
		} else {
			stalled = true
		}
	}
	return going, stalled
}
