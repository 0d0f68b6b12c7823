package pinset

import (
	"cmp"
	"slices"
	"sync"
)

// NewLoading returns an empty view without an index: until FinishLoad is called
// pins are added and changed at a fraction of the cost, Page and ForEach see
// none of them, and changes are not in the journal.
func NewLoading() *View {
	v := New()
	v.loading = true
	return v
}

// FinishLoad builds the index, which is kept up to date from then on. It takes
// about a second for a million pins, and nobody else can use the view in that
// time. Calling it again does nothing.
//
// It moves the sequence number on, so that readers who have listed the view
// before must list it again.
func (v *View) FinishLoad() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.loading {
		return
	}
	v.sortSlots()
	v.buildIndex()
	v.loading = false
	v.journal.restart()
}

// sortSlots puts the rows into the order of their creation, without gaps. It
// needs the lock and an empty index, because keys hold slots.
func (v *View) sortSlots() {
	order := make([]uint32, 0, v.n)
	for slot := range v.used {
		if v.at(slot).status != 0 {
			order = append(order, slot)
		}
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Compare(v.at(a).created, v.at(b).created) })

	moved := make([]uint32, v.used) // from old slots to new ones
	slabs := make([]*[slabSize]row, (len(order)+slabSize-1)/slabSize)
	for i := range slabs {
		slabs[i] = new([slabSize]row)
	}
	for at, slot := range order {
		moved[slot] = uint32(at)
		slabs[at/slabSize][at%slabSize] = *v.at(slot)
	}
	v.slabs, v.fragments = slabs, make([]uint16, len(slabs))
	v.used, v.free = uint32(len(order)), none
	for slot := range v.used {
		if r := v.at(slot); r.next != none {
			r.next = moved[r.next]
		}
	}
	for id, slot := range v.heads {
		v.heads[id] = moved[slot]
	}
	for slab := range v.slabs {
		v.defragment(uint32(slab))
	}
}

// buildIndex fills an empty index with the keys of all rows. It needs the lock.
func (v *View) buildIndex() {
	var wg sync.WaitGroup
	for _, t := range v.index.trees() {
		wg.Go(func() { t.build(v.sortedKeys(t)) })
	}
	wg.Wait()
}

// rebuildIndex replaces a damaged index by one made of the rows, which are the
// truth. Damage is a fault of this package: it is repaired, so that lists and
// counts stay right, and counted for IndexRebuilds. It needs the lock, and
// holds it as long as FinishLoad does.
func (v *View) rebuildIndex() {
	v.rebuilds++
	v.index = newIndex(v.index.seed, v.less)
	v.buildIndex()
}

// IndexRebuilds is how often the index was damaged and made again. It should be
// zero: the caller reports every other value as a fault of this program.
func (v *View) IndexRebuilds() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.rebuilds
}

// sortedKeys returns the keys of all rows for one of the trees.
func (v *View) sortedKeys(t *rankTree) []key {
	var keys []key
	if t == v.index.all {
		keys = make([]key, 0, v.n)
	}
	// From the newest to the oldest they are mostly sorted already.
	for at := range v.used {
		slot := v.used - 1 - at
		r := v.at(slot)
		if r.status == 0 {
			continue
		}
		v.index.keysOf(slot, r, func(of *rankTree, k key) {
			if of == t {
				keys = append(keys, k)
			}
		})
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.group != b.group {
			return cmp.Compare(a.group, b.group)
		}
		return v.compare(a, b)
	})
	return keys
}
