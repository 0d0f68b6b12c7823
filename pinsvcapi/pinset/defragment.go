package pinset

import "strings"

// Each slab stores the data of its rows in one contiguous string, which the
// strings of the rows share. A scan of a million rows then reads memory in one
// direction; with strings scattered over the heap it takes 2 to 9 times as long
// (BenchmarkScan). It is by hand: an arena frees its data only as a whole, and the
// rows of a slab change one by one.

// maxFragments is how many rows of a slab may have left the slab's string, or
// left a gap in it, before a new one is made.
const maxFragments = slabSize / 4

// addFragment counts a row whose data was added, changed or removed. It needs
// the lock.
func (v *View) addFragment(slot uint32) {
	slab := slot / slabSize
	v.fragments[slab]++
	if v.fragments[slab] > maxFragments && !v.loading {
		v.defragment(slab)
	}
}

// defragment copies the data of the rows of a slab into one new string. It
// needs the lock.
func (v *View) defragment(slab uint32) {
	rows := v.slabs[slab]
	size := 0
	for i := range rows {
		size += len(rows[i].data)
	}
	var all strings.Builder
	all.Grow(size)
	for i := range rows {
		all.WriteString(rows[i].data)
	}
	data := all.String()
	for i := range rows {
		n := len(rows[i].data)
		rows[i].data, data = data[:n], data[n:]
	}
	v.fragments[slab] = 0
}
