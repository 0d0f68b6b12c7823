package pinset

import (
	"cmp"
	"container/heap"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// scan serves queries that no index can: parts of names, and metadata. It reads
// the rows in storage order, which suits the processor's caches, keeps only the
// newest ones, and checks the context once a slab.
func (v *View) scan(ctx context.Context, limit int, p *predicate) (Page, error) {
	select {
	case v.scans <- struct{}{}:
		defer func() { <-v.scans }()
	case <-ctx.Done():
		return Page{}, context.Cause(ctx)
	}
	v.mu.RLock()
	slabs := len(v.slabs)
	v.mu.RUnlock()

	workers := min(runtime.GOMAXPROCS(0), slabs, 4)
	found := make([]newest, workers)
	var wg sync.WaitGroup
	for i := range found {
		wg.Go(func() {
			for slab := i; slab < slabs && ctx.Err() == nil; slab += workers {
				v.scanSlab(slab, p, &found[i])
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return Page{}, context.Cause(ctx)
	}
	return v.pageOf(found, limit, p), nil
}

func (v *View) scanSlab(slab int, p *predicate, into *newest) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	rows := v.slabs[slab]
	for i := range rows {
		if r := &rows[i]; r.status != 0 && p.accepts(r) {
			into.add(candidate{key{created: r.created, slot: uint32(slab*slabSize + i)}, r.cidKey()})
		}
	}
}

// pageOf makes a page of what the workers of a scan have found.
func (v *View) pageOf(found []newest, limit int, p *predicate) Page {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var keys []key
	total := 0
	for _, f := range found {
		total += f.count
		for _, c := range f.candidates {
			// The pin may have changed since the scan read it.
			if r := v.at(c.slot); r.status != 0 && r.created == c.created && r.cidKey() == c.cid && p.accepts(r) {
				keys = append(keys, c.key)
			} else {
				total--
			}
		}
	}
	slices.SortFunc(keys, v.compare)
	return v.entriesOf(p, trim(keys, limit), total)
}

// candidate is a row as a scan has read it. Its slot may hold another row, or
// none, when the next slab is read, so candidates are compared without it.
type candidate struct {
	key
	cid string // as cidKey
}

// compare is list order.
func (c candidate) compare(other candidate) int {
	return cmp.Or(cmp.Compare(other.created, c.created), strings.Compare(c.cid, other.cid))
}

// newest keeps the first candidates in list order, as many as the largest page
// can need, in a heap with the last of them on top.
type newest struct {
	candidates []candidate
	count      int // of all that were added
}

func (h *newest) add(c candidate) {
	h.count++
	switch {
	case len(h.candidates) <= pinsvc.MaxLimit:
		heap.Push(h, c)
	case c.compare(h.candidates[0]) < 0:
		h.candidates[0] = c
		heap.Fix(h, 0)
	}
}

func (h *newest) Len() int           { return len(h.candidates) }
func (h *newest) Less(i, j int) bool { return h.candidates[i].compare(h.candidates[j]) > 0 }
func (h *newest) Swap(i, j int)      { h.candidates[i], h.candidates[j] = h.candidates[j], h.candidates[i] }
func (h *newest) Push(x any)         { h.candidates = append(h.candidates, x.(candidate)) }
func (h *newest) Pop() any {
	last := h.candidates[len(h.candidates)-1]
	h.candidates = h.candidates[:len(h.candidates)-1]
	return last
}
