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

// View is the ordered view. All methods may be called concurrently; each sees
// the pins as they were at one moment, except that a scan lets writers in
// between runs of a few thousand records, so that what changes while it goes
// on is seen either before or after the change.
type View struct {
	mu    sync.RWMutex
	slabs []*[slabSize]record
	loose []uint16 // see arrange.go
	used  uint32   // slots handed out so far
	free  uint32   // head of the list of free slots
	n     int
	// loading says that index is empty: see NewLoading.
	loading bool
	// counts are by status.
	counts [pinsvc.StatusFailed + 1]int
	// heads maps the hash of a pin's identity to the first of the records
	// that have it, linked by next.
	heads map[uint64]uint32
	index *index
	// journal has its own lock.
	journal *journal
	// scans bounds how many scans run at once.
	scans chan struct{}
	// latest is the largest creation time ever put in.
	latest int64
}

const (
	slabSize = 4096
	// none ends a list of slots. slotFirst and slotLast belong to no record.
	none      = ^uint32(0)
	slotLast  = ^uint32(0) - 1
	slotFirst = ^uint32(0) - 2

	concurrentScans = 2
)

// New returns an empty view.
func New() *View { return newView(journalSize) }

func newView(journalSize int) *View {
	v := &View{
		journal: newJournal(journalSize),
		free:    none,
		heads:   make(map[uint64]uint32),
		scans:   make(chan struct{}, concurrentScans),
	}
	v.index = newIndex(v.less)
	return v
}

// Len is the number of pins.
func (v *View) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.n
}

// Latest is the largest creation time that was ever put in, in Unix
// milliseconds; zero before the first.
func (v *View) Latest() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.latest
}

// Put adds a pin, or replaces the one with the same CID (the same form of it).
// Its status must be one of the four.
func (v *View) Put(p Pin) { v.Upsert(p, nil) }

// store puts fresh in the place of r, which has the same CID.
func (v *View) store(slot uint32, r *record, fresh record) {
	fresh.next = r.next
	old := r.status
	if fresh.data == r.data {
		fresh.data = r.data // One copy is enough.
	}
	loosened := fresh.data != r.data
	if fresh == *r {
		return
	}
	moved := !v.loading && (r.created != fresh.created || r.status != fresh.status || r.name() != fresh.name())
	if moved {
		v.index.drop(slot, r)
	}
	v.counts[r.status]--
	v.counts[fresh.status]++
	*r = fresh
	if moved {
		v.index.add(slot, r)
	}
	if loosened {
		v.loosened(slot)
	}
	v.log(Updated, r, old, r.status)
}

// log puts a change of a row into the journal, except while the view loads.
func (v *View) log(kind ChangeKind, r *record, from, to pinsvc.Status) {
	if !v.loading {
		v.journal.append(Change{Key: r.cidKey(), Kind: kind, Old: from, New: to, Created: r.created})
	}
}

// Remove takes out the pin with that CID (that form of it) and reports whether
// it was there.
func (v *View) Remove(c cid.Cid) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	slot, ok := v.find(c)
	if !ok {
		return false
	}
	r := v.at(slot)
	if !v.loading {
		v.index.drop(slot, r)
	}
	v.unlink(slot, r, c)
	v.counts[r.status]--
	v.log(Removed, r, r.status, 0)
	*r = record{next: v.free}
	v.free = slot
	v.n--
	v.loosened(slot)
	return true
}

// Get returns the pin with that CID: that form of it, or the other one (D1)
// when only that is there.
func (v *View) Get(c cid.Cid) (Pin, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var found *record
	for _, r := range v.forms(c) {
		if found == nil || r.cidKey() == c.KeyString() {
			found = r
		}
	}
	if found == nil {
		return Pin{}, false
	}
	p, err := found.unpack()
	return p, err == nil
}

// less is list order inside a group: newest first, then by the bytes of the
// CID. slotFirst comes before, slotLast after every record of that time.
func (v *View) less(a, b key) bool {
	return a.group < b.group || a.group == b.group && v.compare(a, b) < 0
}

// compare is list order without regard to groups.
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

func (v *View) at(slot uint32) *record { return &v.slabs[slot/slabSize][slot%slabSize] }

func (v *View) allocate() uint32 {
	if v.free != none {
		slot := v.free
		v.free = v.at(slot).next
		return slot
	}
	if int(v.used) == len(v.slabs)*slabSize {
		v.slabs = append(v.slabs, new([slabSize]record))
		v.loose = append(v.loose, 0)
	}
	v.used++
	return v.used - 1
}

// identity hashes what the two forms of a CID have in common.
func (v *View) identity(c cid.Cid) uint64 {
	return maphash.String(v.index.seed, pinsvc.PinKey(c))
}

func (v *View) link(slot uint32, r *record, c cid.Cid) {
	id := v.identity(c)
	r.next = none
	if head, ok := v.heads[id]; ok {
		r.next = head
	}
	v.heads[id] = slot
}

func (v *View) unlink(slot uint32, r *record, c cid.Cid) {
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

// forms ranges over the records of the pin that c names, at most one for each
// form of it.
func (v *View) forms(c cid.Cid) iter.Seq2[uint32, *record] {
	return func(yield func(uint32, *record) bool) {
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
