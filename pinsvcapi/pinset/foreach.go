package pinset

import (
	"math"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// forEachChunk is how many pins ForEach reads under one lock.
const forEachChunk = 1024

// visited is a pin as ForEach shows it.
type visited struct {
	key string
	Mutable
}

// ForEach calls visit for the pins of some statuses, newest first, until it
// returns false. It reads no others, and releases the lock between chunks: a
// pin whose status or creation time changes meanwhile may be missed or come
// twice. visit may call the view.
func (v *View) ForEach(set pinsvc.StatusSet, visit func(key string, m Mutable) bool) {
	p := predicate{statuses: set, window: window{newest: math.MaxInt64, oldest: math.MinInt64}}
	var chunk []visited
	for {
		chunk = v.readChunk(chunk[:0], &p)
		if len(chunk) == 0 {
			return
		}
		for _, e := range chunk {
			if !visit(e.key, e.Mutable) {
				return
			}
		}
		p.window.newest = chunk[len(chunk)-1].Created - 1
	}
}

// readChunk appends the newest pins that the predicate accepts, whole groups of
// equal creation times.
func (v *View) readChunk(chunk []visited, p *predicate) []visited {
	v.mu.RLock()
	defer v.mu.RUnlock()
	keys := first(nil, v.index.spans(p), forEachChunk+1, v.compare)
	if len(keys) == 0 {
		return nil
	}
	n := cut(keys, forEachChunk)
	if n == 0 { // One group that is larger than a chunk.
		group := predicate{statuses: p.statuses, window: window{newest: keys[0].created, oldest: keys[0].created}}
		keys = first(nil, v.index.spans(&group), math.MaxInt32, v.compare)
		n = len(keys)
	}
	for _, k := range keys[:n] {
		r := v.at(k.slot)
		chunk = append(chunk, visited{r.cidKey(), r.mutable()})
	}
	return chunk
}

// All calls visit for every pin, in no order, also while the view is loading. The lock is
// released between runs of a few thousand pins: a pin that is added or removed meanwhile
// may be visited or not. visit runs under the read lock and must not call the view.
func (v *View) All(visit func(key string, m Mutable)) {
	for slab := 0; v.visitSlab(slab, visit); slab++ {
	}
}

func (v *View) visitSlab(slab int, visit func(key string, m Mutable)) (more bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if slab >= len(v.slabs) {
		return false
	}
	for i := range v.slabs[slab] {
		if r := &v.slabs[slab][i]; r.status != 0 {
			visit(r.cidKey(), r.mutable())
		}
	}
	return true
}
