package pinset

import (
	"cmp"
	"hash/maphash"
	"iter"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// View is the ordered view. All methods may be called concurrently. Each sees
// the pins at one moment, except for scans (UpdateAll and ForEach too), which
// let writers in between runs of a few thousand rows: a pin that changes
// meanwhile is seen either before or after the change.
type View struct {
	mu    sync.RWMutex
	slabs []*[slabSize]row
	// fragments are, by slab, the rows whose data is not in the slab's
	// string: see defragment.go.
	fragments []uint16
	used      uint32 // slots handed out so far
	free      uint32 // head of the list of free slots
	n         int
	// loading reports whether index is empty and stays so: see NewLoading.
	loading bool
	counts  [pinsvc.StatusFailed + 1]int // by status
	// heads maps the hash of a pin's identity to the first one of the rows
	// that have it, linked by next.
	heads map[uint64]uint32
	index *index
	// rebuilds is how often the index was damaged: see rebuildIndex.
	rebuilds int
	// journal has a lock of its own, which is taken after mu.
	journal *journal
	// scans bounds the number of scans that run at once.
	scans chan struct{}
}

const (
	slabSize = 4096
	// none ends a list of slots. slotFirst and slotLast belong to no row.
	none      = ^uint32(0)
	slotLast  = ^uint32(0) - 1
	slotFirst = ^uint32(0) - 2

	concurrentScans = 2
)

// New returns an empty view.
func New() *View { return newView(journalSize) }

func newView(journalSize int) *View {
	v := &View{
		free:    none,
		heads:   make(map[uint64]uint32),
		journal: newJournal(journalSize),
		scans:   make(chan struct{}, concurrentScans),
	}
	v.index = newIndex(maphash.MakeSeed(), v.less)
	return v
}

// Len is the number of pins.
func (v *View) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.n
}

// Counts are the numbers of pins by status.
func (v *View) Counts() [pinsvc.StatusFailed + 1]int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.counts
}

// Count is the number of pins with one of the statuses.
func (v *View) Count(set pinsvc.StatusSet) int {
	counts := v.Counts()
	n := 0
	for _, s := range statuses {
		if set.Has(s) {
			n += counts[s]
		}
	}
	return n
}

// Lookup returns the mutable fields of the pin with that form of the CID.
func (v *View) Lookup(c cid.Cid) (Mutable, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	slot, ok := v.find(c)
	if !ok {
		return Mutable{}, false
	}
	return v.at(slot).mutable(), true
}

// Get returns the pin with that form of the CID, or with the other one (D1)
// when only that one is in the view.
func (v *View) Get(c cid.Cid) (Pin, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var found *row
	for _, r := range v.forms(c) {
		if found == nil || r.cidKey() == c.KeyString() {
			found = r
		}
	}
	if found == nil {
		return Pin{}, false
	}
	p, err := found.entry().Pin()
	return p, err == nil
}

// less is the order of an index: by group, then in list order.
func (v *View) less(a, b key) bool {
	return a.group < b.group || a.group == b.group && v.compare(a, b) < 0
}

// compare is list order: newest first, then by the bytes of the CID. slotFirst
// sorts before and slotLast after every row of the same time.
func (v *View) compare(a, b key) int {
	switch {
	case a.created != b.created:
		return cmp.Compare(b.created, a.created)
	case a.slot == b.slot:
		return 0
	case a.slot == slotFirst || b.slot == slotLast:
		return -1
	case a.slot == slotLast || b.slot == slotFirst:
		return 1
	default:
		return strings.Compare(v.at(a.slot).cidKey(), v.at(b.slot).cidKey())
	}
}

func (v *View) at(slot uint32) *row { return &v.slabs[slot/slabSize][slot%slabSize] }

func (v *View) allocate() uint32 {
	if v.free != none {
		slot := v.free
		v.free = v.at(slot).next
		return slot
	}
	if int(v.used) == len(v.slabs)*slabSize {
		v.slabs = append(v.slabs, new([slabSize]row))
		v.fragments = append(v.fragments, 0)
	}
	v.used++
	return v.used - 1
}

// identity hashes what the two forms of a CID have in common.
func (v *View) identity(c cid.Cid) uint64 {
	return maphash.String(v.index.seed, pinsvc.PinKey(c))
}

func (v *View) link(slot uint32, r *row, c cid.Cid) {
	id := v.identity(c)
	r.next = none
	if head, ok := v.heads[id]; ok {
		r.next = head
	}
	v.heads[id] = slot
}

func (v *View) unlink(slot uint32, r *row, c cid.Cid) {
	id := v.identity(c)
	head := v.heads[id]
	switch {
	case head != slot:
		for v.at(head).next != slot {
			head = v.at(head).next
		}
		v.at(head).next = r.next
	case r.next == none:
		delete(v.heads, id)
	default:
		v.heads[id] = r.next
	}
}

// forms ranges over the rows of the pin that c names, at most one for each form
// of the CID.
func (v *View) forms(c cid.Cid) iter.Seq2[uint32, *row] {
	return func(yield func(uint32, *row) bool) {
		slot, ok := v.heads[v.identity(c)]
		for ; ok && slot != none; slot = v.at(slot).next {
			r := v.at(slot)
			key := r.cidKey()
			other, has := pinsvc.OtherForm(c)
			if key != c.KeyString() && !(has && key == other.KeyString()) {
				continue
			}
			if !yield(slot, r) {
				return
			}
		}
	}
}

// find returns the slot of exactly this form of the CID.
func (v *View) find(c cid.Cid) (uint32, bool) {
	for slot, r := range v.forms(c) {
		if r.cidKey() == c.KeyString() {
			return slot, true
		}
	}
	return none, false
}
