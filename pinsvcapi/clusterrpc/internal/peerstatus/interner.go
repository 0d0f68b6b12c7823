package peerstatus

// interner gives small numbers to values that many pins share, so that a pin
// stores four bytes. Number 0 is the zero value with the empty key. It is not
// safe for concurrent use.
//
// Values that no pin uses any more are reclaimed by mark and sweep: beginSweep,
// then used for the numbers of all pins, then sweep. A number is given to another
// value one sweep later at the earliest, so a reader that took a number from the
// view just before a sweep still finds its value.
type interner[V any] struct {
	numbers map[string]uint32
	entries []internEntry[V]
	cooling []uint32 // unused since the last sweep
	free    []uint32
	epoch   uint32
}

type internEntry[V any] struct {
	key   string
	value V
	epoch uint32 // of the sweep that last found it in use
}

func newInterner[V any]() interner[V] {
	return interner[V]{numbers: map[string]uint32{"": 0}, entries: make([]internEntry[V], 1)}
}

// intern returns the number of a key; make builds its value when it is new.
func (in *interner[V]) intern(key []byte, make func(key string) V) uint32 {
	if n, ok := in.numbers[string(key)]; ok {
		in.entries[n].epoch = in.epoch
		return n
	}
	text := string(key)
	entry := internEntry[V]{text, make(text), in.epoch}
	n := uint32(len(in.entries))
	if last := len(in.free) - 1; last >= 0 {
		n, in.free = in.free[last], in.free[:last]
		in.entries[n] = entry
	} else {
		in.entries = append(in.entries, entry)
	}
	in.numbers[text] = n
	return n
}

func (in *interner[V]) at(n uint32) V { return in.entries[n].value }

// len is the number of values in use, the zero value included.
func (in *interner[V]) len() int { return len(in.numbers) }

func (in *interner[V]) beginSweep() { in.epoch++ }

func (in *interner[V]) used(n uint32) { in.entries[n].epoch = in.epoch }

// sweep reclaims what was not used since beginSweep.
func (in *interner[V]) sweep() {
	for _, n := range in.cooling {
		in.entries[n] = internEntry[V]{}
	}
	in.free = append(in.free, in.cooling...)
	in.cooling = nil
	for key, n := range in.numbers {
		if n != 0 && in.entries[n].epoch != in.epoch {
			delete(in.numbers, key)
			in.cooling = append(in.cooling, n)
		}
	}
}
