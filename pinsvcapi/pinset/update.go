package pinset

import (
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Mutable are the fields of a pin that its feeder sets again and again. They are
// numbers in the row: changing them leaves its string alone.
type Mutable struct {
	// Created is in Unix milliseconds.
	Created int64
	Status  pinsvc.Status
	// The others are those of Pin.
	Stamped, Direct            bool
	Revised                    bool
	OtherFormRequested         bool
	Written                    uint32
	Revision                   uint16
	Placement, Vector, Origins uint32
}

func (r *row) mutable() Mutable {
	return Mutable{
		Created: r.created, Status: r.status, Stamped: r.has(flagStamped), OtherFormRequested: r.has(flagOtherForm),
		Direct: r.has(flagDirect), Revised: r.has(flagRevised), Written: r.written, Revision: r.revision, Placement: r.placement, Vector: r.vector, Origins: r.origins,
	}
}

func (r *row) setMutable(m Mutable) {
	r.created, r.status, r.written, r.revision = m.Created, m.Status, m.Written, m.Revision
	r.placement, r.vector, r.origins = m.Placement, m.Vector, m.Origins
	r.setFlag(flagStamped, m.Stamped)
	r.setFlag(flagDirect, m.Direct)
	r.setFlag(flagRevised, m.Revised)
	r.setFlag(flagOtherForm, m.OtherFormRequested)
}

// Put adds a pin, or replaces the one with the same form of the CID. Its status
// must be one of the four.
func (v *View) Put(p Pin) { v.Upsert(p, nil) }

// Upsert is Put for a pin whose mutable fields depend on those of the pin that
// it replaces. merge, if not nil, gets the old ones, nil when there is no such
// pin, and may change the new ones. It runs under the lock of the view and must
// not call it.
func (v *View) Upsert(p Pin, merge func(old, fresh *Mutable)) { v.UpsertInPlaceOf(p, merge, nil) }

// UpsertInPlaceOf is Upsert and Remove of other pins, by that form of their CIDs, in one
// step: no reader sees the one without the other.
func (v *View) UpsertInPlaceOf(p Pin, merge func(old, fresh *Mutable), others []cid.Cid) {
	var fresh row
	fresh.pack(p)
	v.mu.Lock()
	defer v.mu.Unlock()
	slot, ok := v.find(p.CID)
	if merge != nil {
		var old *Mutable
		if ok {
			m := v.at(slot).mutable()
			old = &m
		}
		m := fresh.mutable()
		merge(old, &m)
		fresh.setMutable(m)
	}
	if ok {
		v.replace(slot, fresh)
	} else {
		v.add(p.CID, fresh)
	}
	for _, c := range others {
		if slot, ok := v.find(c); ok {
			v.remove(slot, c)
		}
	}
}

// Update lets change set the mutable fields of the pin with that form of the
// CID, and reports whether the pin is in the view. The fields are kept only
// when change returns true. It runs under the lock of the view and must not
// call it. To read the fields, use Lookup.
func (v *View) Update(c cid.Cid, change func(*Mutable) bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	slot, ok := v.find(c)
	if ok {
		v.updateSlot(slot, change)
	}
	return ok
}

// UpdateAll is Update for every pin, in no order; change gets the binary form
// of the CID too. The lock is released between runs of a few thousand pins: a
// pin that is added or removed meanwhile may be visited or not.
func (v *View) UpdateAll(change func(key string, m *Mutable) bool) {
	for slab := 0; v.updateSlab(slab, change); slab++ {
	}
}

func (v *View) updateSlab(slab int, change func(key string, m *Mutable) bool) (more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slab >= len(v.slabs) {
		return false
	}
	for i := range v.slabs[slab] {
		r := &v.slabs[slab][i]
		if r.status == 0 {
			continue
		}
		v.updateSlot(uint32(slab*slabSize+i), func(m *Mutable) bool { return change(r.cidKey(), m) })
	}
	return true
}

// updateSlot needs the lock.
func (v *View) updateSlot(slot uint32, change func(*Mutable) bool) {
	r := v.at(slot)
	m := r.mutable()
	if !change(&m) {
		return
	}
	fresh := *r
	fresh.setMutable(m)
	v.replace(slot, fresh)
}

// Remove takes out the pin with that form of the CID and reports whether it was
// in the view.
func (v *View) Remove(c cid.Cid) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	slot, ok := v.find(c)
	if ok {
		v.remove(slot, c)
	}
	return ok
}

// add stores a pin that is not in the view. It needs the lock.
func (v *View) add(c cid.Cid, fresh row) {
	slot := v.allocate()
	r := v.at(slot)
	*r = fresh
	v.link(slot, r, c)
	v.n++
	v.counts[r.status]++
	if !v.loading {
		v.index.add(slot, r)
	}
	v.addFragment(slot)
	v.journalChange(Added, r, 0, r.status)
}

// replace stores fresh in the slot of a row with the same CID. It needs the
// lock.
func (v *View) replace(slot uint32, fresh row) {
	r := v.at(slot)
	fresh.next = r.next
	sameData := fresh.data == r.data
	if sameData {
		fresh.data = r.data // The other copy is garbage now.
	}
	if fresh == *r {
		return
	}
	old := r.status
	moved := !v.loading && (old != fresh.status || r.created != fresh.created || r.name() != fresh.name())
	intact := !moved || v.index.remove(slot, r)
	v.counts[old]--
	v.counts[fresh.status]++
	*r = fresh
	switch {
	case !intact:
		v.rebuildIndex()
	case moved:
		v.index.add(slot, r)
	}
	if !sameData {
		v.addFragment(slot)
	}
	v.journalChange(Updated, r, old, r.status)
}

// remove frees the slot of a row with that CID. It needs the lock.
func (v *View) remove(slot uint32, c cid.Cid) {
	r := v.at(slot)
	intact := v.loading || v.index.remove(slot, r)
	v.unlink(slot, r, c)
	v.n--
	v.counts[r.status]--
	v.journalChange(Removed, r, r.status, 0)
	*r = row{next: v.free}
	v.free = slot
	if !intact {
		v.rebuildIndex()
	}
	v.addFragment(slot)
}

// journalChange adds a change of r to the journal, except while the view loads.
func (v *View) journalChange(kind ChangeKind, r *row, from, to pinsvc.Status) {
	if !v.loading {
		v.journal.append(Change{Key: r.cidKey(), Kind: kind, Old: from, New: to, Created: r.created})
	}
}
