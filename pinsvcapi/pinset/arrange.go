package pinset

import (
	"cmp"
	"slices"
	"strings"
)

// Pages and scans go over a million records in a few milliseconds only when
// they read memory in one direction. So the texts of the records of a slab
// stand behind each other in one string, of which those of the records are
// parts, and a view that was loaded has its records in the order of their
// creation, as those that come later will be.

// maxLoose is how many records of a slab may have a text of their own, or have
// left theirs behind in the slab's, before the texts are put together again.
const maxLoose = slabSize / 4

// loosened tells that the text of a record in the slot came, went or changed.
// It needs the lock.
func (v *View) loosened(slot uint32) {
	slab := slot / slabSize
	v.loose[slab]++
	if v.loose[slab] > maxLoose && !v.loading {
		v.joinTexts(slab)
	}
}

// joinTexts puts the texts of a slab behind each other. It needs the lock.
func (v *View) joinTexts(slab uint32) {
	records := v.slabs[slab]
	size := 0
	for i := range records {
		size += len(records[i].data)
	}
	var all strings.Builder
	all.Grow(size)
	for i := range records {
		all.WriteString(records[i].data)
	}
	text := all.String()
	for i := range records {
		n := len(records[i].data)
		records[i].data, text = text[:n], text[n:]
	}
	v.loose[slab] = 0
}

// arrange puts the records into the order of their creation, without gaps. It
// needs the lock, and an index that is still empty.
func (v *View) arrange() {
	order := make([]uint32, 0, v.n)
	for slot := range v.used {
		if v.at(slot).status != 0 {
			order = append(order, slot)
		}
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Compare(v.at(a).created, v.at(b).created) })

	moved := make([]uint32, v.used) // from old slots to new ones
	slabs := make([]*[slabSize]record, (len(order)+slabSize-1)/slabSize)
	for i := range slabs {
		slabs[i] = new([slabSize]record)
	}
	for at, slot := range order {
		moved[slot] = uint32(at)
		slabs[at/slabSize][at%slabSize] = *v.at(slot)
	}
	v.slabs, v.loose = slabs, make([]uint16, len(slabs))
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
		v.joinTexts(uint32(slab))
	}
}
