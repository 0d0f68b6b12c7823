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

// scan answers what no index holds: parts of names and metadata. It reads the
// records in storage order, which is kind to the processor's caches, keeps the
// newest matches only, and looks at the context once a slab.
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

	v.mu.RLock()
	defer v.mu.RUnlock()
	var keys []key
	total := 0
	for _, f := range found {
		total += f.count
		for _, k := range f.keys {
			// What changed since it was seen is not what the key says.
			if r := v.at(k.slot); r.status != 0 && r.created == k.created && r.cidKey() == k.cid && p.matches(r) {
				keys = append(keys, k.key)
			} else {
				total--
			}
		}
	}
	slices.SortFunc(keys, v.compare)
	return v.fill(p, trim(keys, limit), total), nil
}

func (v *View) scanSlab(slab int, p *predicate, into *newest) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	records := v.slabs[slab]
	for i := range records {
		if r := &records[i]; r.status != 0 && p.matches(r) {
			into.add(sighting{key{created: r.created, slot: uint32(slab*slabSize + i)}, r.cidKey()})
		}
	}
}

// sighting is a record as a scan saw it: the slot may have another one, or
// none, by the time that the next slab is read.
type sighting struct {
	key
	cid string // as cidKey
}

// compare is list order.
func (s sighting) compare(other sighting) int {
	return cmp.Or(cmp.Compare(other.created, s.created), strings.Compare(s.cid, other.cid))
}

// newest keeps the first keys in list order of all that are added, as many as
// the largest page can need, in a heap whose top is the last of them.
type newest struct {
	keys  []sighting
	count int
}

func (h *newest) add(s sighting) {
	h.count++
	switch {
	case len(h.keys) <= pinsvc.MaxLimit:
		heap.Push(h, s)
	case s.compare(h.keys[0]) < 0:
		h.keys[0] = s
		heap.Fix(h, 0)
	}
}

func (h *newest) Len() int           { return len(h.keys) }
func (h *newest) Less(i, j int) bool { return h.keys[i].compare(h.keys[j]) > 0 }
func (h *newest) Swap(i, j int)      { h.keys[i], h.keys[j] = h.keys[j], h.keys[i] }
func (h *newest) Push(x any)         { h.keys = append(h.keys, x.(sighting)) }
func (h *newest) Pop() any {
	last := h.keys[len(h.keys)-1]
	h.keys = h.keys[:len(h.keys)-1]
	return last
}
