package crdtstore

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-datastore"
)

// go-ds-crdt walks a branch from its root (a head that another peer announced) down to what
// it has. It marks each block as processed before the block's children, and the root
// becomes a head at the end of the walk. So of a walk that does not end nothing is left to
// go on from: the root counts as known, and is not a head from which a repair would start
// (U27). Two kinds of marks keep it, each written in one commit with what it is about:
//
//	root  a block that arrived and is neither a child that a walk was going to nor a
//	      head yet. Blocks of this peer's own writes are roots until they are heads, too: a
//	      kill between their merge and their head would keep them from others (U28).
//	open  a child of a root or of a processed block that is not processed itself. Its value is the
//	      number of the walk that comes to it: see progress.go and early.go.
//
// Without a walk in progress there are none.

// walks are the marks, in memory.
type walks struct {
	// order is held by what changes marks, until they are on the disk. That may take long: U52.
	order sync.Mutex
	// mu guards what is below, of which marks change only with order held too. Nothing is read from the
	// disk or written with it held.
	mu   sync.Mutex
	open map[string]uint64
	// begun is the number of the walk that began last.
	begun uint64
	// progress are the walks to which the open branches belong.
	progress progress
	roots    map[string]rootBlock
	arrived  arrivedBlocks
	// unmarked: a walk failed, and the dirty mark could not be written (U91).
	unmarked atomic.Bool
	// kept is the number of early changes.
	kept atomic.Int64
}

// rootBlock is a root.
type rootBlock struct {
	number uint64 // of the walk from it; 0: it has none yet
	walked bool   // it has a branch to be walked
}

// Unfinished is the number of branches of the DAG whose walk has not ended. It does not wait for the
// disk.
func (s *Store) Unfinished() int {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	return len(s.walks.open)
}

// Quiet reports whether a block that is in the store and not processed yet is the only one, so that
// no branch is being walked.
func (s *Store) Quiet(id string) bool {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	_, root := s.walks.roots[id]
	return root && len(s.walks.roots) == 1 && len(s.walks.open) == 0
}

// noteBlocks adds to a batch the marks that its blocks and heads change.
func (s *Store) noteBlocks(ctx context.Context, b *batch) error {
	if len(b.blocks)+len(b.heads) == 0 {
		return nil
	}
	s.walks.order.Lock()
	defer s.walks.order.Unlock()
	for _, arrived := range b.blocks {
		merged, err := s.noteRoot(ctx, b.inner, arrived)
		if err != nil {
			return err
		}
		if !merged { // It may be written more than once.
			s.walks.change(func(w *walks) { w.arrived.add(arrived.id, arrived.data) })
		}
	}
	for _, id := range b.heads {
		if _, ok := s.walks.roots[id]; ok {
			if err := b.inner.Delete(ctx, s.keys.rootMark(id)); err != nil {
				return err
			}
		}
		// A peer without heads takes those that it hears of before it walks them.
		if known, err := s.Batching.Has(ctx, s.keys.processed(id)); err != nil {
			return err
		} else if !known {
			number := cmp.Or(s.walks.roots[id].number, s.walks.begun+1)
			if err := s.putOpen(ctx, b.inner, id, number); err != nil {
				return err
			}
			s.walks.change(func(w *walks) {
				w.open[id] = s.openSince(id, number)
				w.begin(number, []string{id})
			})
		}
	}
	return nil
}

// noteRoot adds to a batch the marks of a block to which no walk was going. Its own walk begins with it:
// go-ds-crdt shows what it brings, and marks it as processed after that. If the blocks below it were
// known only then, a delete between the two would not wait for them, and they would undo it (U51). It reports
// whether the block was merged before. It needs the lock of order.
func (s *Store) noteRoot(ctx context.Context, b datastore.Write, arrived arrivedBlock) (merged bool, err error) {
	if _, child := s.walks.open[arrived.id]; child {
		return false, nil
	}
	if merged, err = s.Batching.Has(ctx, s.keys.processed(arrived.id)); err != nil || merged {
		return merged, err
	}
	if err := b.Put(ctx, s.keys.rootMark(arrived.id), nil); err != nil {
		return false, err
	}
	below, err := s.missingBelow(ctx, arrived)
	if err != nil {
		return false, err
	}
	number := cmp.Or(s.walks.roots[arrived.id].number, s.walks.begun+1) // It may be written more than once.
	for _, id := range below {
		if err := s.putOpen(ctx, b, id, number); err != nil {
			return false, err
		}
	}
	s.walks.change(func(w *walks) {
		w.begun, w.roots[arrived.id] = max(w.begun, number), rootBlock{number: number}
		for _, id := range below {
			w.open[id] = s.openSince(id, number)
		}
		w.begin(number, below)
	})
	return false, nil
}

// missingBelow are the children of a block that are not processed: none of one that is no block of a CRDT,
// whose branches are never walked.
func (s *Store) missingBelow(ctx context.Context, arrived arrivedBlock) ([]string, error) {
	links, malformed := Links(arrived.data)
	below, err := s.unprocessed(ctx, links)
	if err != nil {
		return nil, err
	}
	if len(below) > 0 {
		_, malformed = decodeBlock(arrived.data) // Of others alone, as it takes longer.
	}
	if malformed != nil {
		log.Warnf("block %s, which another peer has announced, is none of the CRDT: %s", arrived.id, malformed)
		return nil, nil
	}
	return below, nil
}

// change needs the lock of order.
func (w *walks) change(f func(*walks)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// becameHeads is called when the heads are committed.
func (s *Store) becameHeads(ids []string) {
	if len(ids) == 0 {
		return
	}
	s.walks.order.Lock()
	defer s.walks.order.Unlock()
	s.walks.change(func(w *walks) {
		for _, id := range ids {
			delete(w.roots, id)
		}
	})
}

// markProcessed marks a block as processed, and its children that are not as open.
func (s *Store) markProcessed(ctx context.Context, key datastore.Key, id string) error {
	links, err := s.linksOf(ctx, id)
	if err != nil {
		return err
	}
	s.walks.order.Lock()
	defer s.walks.order.Unlock()
	b, err := s.Batching.Batch(ctx)
	if err != nil {
		return err
	}
	if err := b.Put(ctx, key, nil); err != nil {
		return err
	}
	p, err := s.putProcessed(ctx, b, id, links)
	if err != nil {
		return err
	}
	if err := b.Commit(ctx); err != nil {
		return err
	}
	s.noteProcessed(p)
	return nil
}

// processedBlock is what the marks say of a block from now on.
type processedBlock struct {
	id       string
	since    uint64   // the number of its walk
	child    bool     // it was an open branch
	root     bool     // it is a root, still or now
	children []string // that are open branches now
	ends     bool     // no branch is open any more
}

// putProcessed writes the marks that follow from a block's being processed.
func (s *Store) putProcessed(ctx context.Context, b datastore.Write, id string, links []string) (processedBlock, error) {
	p := processedBlock{id: id}
	since, child := s.walks.open[id]
	arrived, root := s.walks.roots[id]
	p.since, p.child, p.root = since, child, root && !child
	if !child {
		p.since = cmp.Or(arrived.number, s.walks.begun+1)
	}
	var err error
	switch {
	case child:
		err = errors.Join(b.Delete(ctx, s.keys.open(id)), b.Delete(ctx, s.keys.rootMark(id)))
	case !root:
		// Its block was here before, so that its arrival was not noticed.
		if p.root, err = s.newRoot(ctx, id); p.root && err == nil {
			err = b.Put(ctx, s.keys.rootMark(id), nil)
		}
	}
	if err != nil {
		return p, err
	}
	if p.children, err = s.unprocessed(ctx, links); err != nil {
		return p, err
	}
	for _, c := range p.children {
		if err := s.putOpen(ctx, b, c, p.since); err != nil {
			return p, err
		}
	}
	if p.ends = len(p.children) == 0 && child && len(s.walks.open) == 1; p.ends {
		return p, s.dropEarly(ctx, b)
	}
	return p, nil
}

// noteProcessed notes in memory what putProcessed has written.
func (s *Store) noteProcessed(p processedBlock) {
	if p.ends {
		s.early.number = nil
		s.walks.kept.Store(0)
	}
	s.walks.change(func(w *walks) {
		if p.child {
			w.progress.move(p.id, p.since, p.children)
		} else {
			w.begin(p.since, p.children)
		}
		w.arrived.remove(p.id)
		delete(w.open, p.id)
		delete(w.roots, p.id)
		if p.root {
			w.roots[p.id] = rootBlock{walked: len(p.children) > 0}
		}
		for _, c := range p.children {
			w.open[c] = s.openSince(c, p.since)
		}
	})
}

// linksOf returns the children of a block that is about to be processed, which is mostly not read again.
func (s *Store) linksOf(ctx context.Context, id string) ([]string, error) {
	s.walks.mu.Lock()
	data := s.walks.arrived.data(id)
	s.walks.mu.Unlock()
	if links, ok := scanLinks(data); ok {
		return links, nil
	}
	node, err := s.readBlock(ctx, id)
	if err != nil {
		return nil, err
	}
	return node.links, nil
}

// newRoot reports whether a block that is no child is no head either.
func (s *Store) newRoot(ctx context.Context, id string) (bool, error) {
	head, err := s.Batching.Has(ctx, s.keys.head(id))
	return !head, err
}

func (s *Store) unprocessed(ctx context.Context, ids []string) (list []string, err error) {
	for _, id := range ids {
		known, err := s.Batching.Has(ctx, s.keys.processed(id))
		if err != nil {
			return nil, err
		}
		if !known {
			list = append(list, id)
		}
	}
	return list, nil
}

// markDirty is called when a walk failed. A repair starts from the heads and would not
// find a root that is none. So roots are forgotten as processed: the next time that another
// peer announces one, which peers do about every ten seconds, it is merged again, which changes
// nothing, and becomes a head.
func (s *Store) markDirty(ctx context.Context, key datastore.Key) error {
	err := s.putDirty(ctx, key)
	s.walks.unmarked.Store(err != nil)
	return err
}

func (s *Store) putDirty(ctx context.Context, key datastore.Key) error {
	b, err := s.Batching.Batch(ctx)
	if err != nil {
		return err
	}
	if err := b.Put(ctx, key, nil); err != nil {
		return err
	}
	s.walks.order.Lock()
	defer s.walks.order.Unlock()
	for id, root := range s.walks.roots {
		if !root.walked {
			continue
		}
		if err := b.Delete(ctx, s.keys.processed(id)); err != nil {
			return err
		}
	}
	return b.Commit(ctx)
}

// MarkDirty has the DAG repaired, at the start or within the repair interval.
func (s *Store) MarkDirty(ctx context.Context) error { return s.markDirty(ctx, s.keys.dirty()) }
