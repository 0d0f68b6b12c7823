package pinset

import (
	"math"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Mutable are the part of a pin that its feeder judges again and again. Changing
// them allocates nothing.
type Mutable struct {
	// Created is in Unix milliseconds.
	Created int64
	Status  pinsvc.Status
	// The others are as in Pin.
	Stamped, AskedOtherForm, Direct bool
	Written                         uint32
	Placement, Vector, Origins      uint32
}

func (r *record) marks() Mutable {
	return Mutable{
		Created: r.created, Status: r.status, Stamped: r.flags&flagStamped != 0,
		AskedOtherForm: r.flags&flagOtherForm != 0, Direct: r.flags&flagDirect != 0,
		Written: r.written, Placement: r.placement, Vector: r.reports, Origins: r.origins,
	}
}

func (r *record) mark(m Mutable) {
	r.created, r.status = m.Created, m.Status
	r.written, r.placement, r.reports, r.origins = m.Written, m.Placement, m.Vector, m.Origins
	r.flags &^= flagStamped | flagOtherForm
	if m.Stamped {
		r.flags |= flagStamped
	}
	if m.AskedOtherForm {
		r.flags |= flagOtherForm
	}
}

// Upsert is Put with marks that depend on those of the pin that is replaced.
// settle, if not nil, gets a pointer to those, nil when there is no such pin,
// and changes those of p. It runs under the lock of the view and must not call
// it.
func (v *View) Upsert(p Pin, settle func(old, fresh *Mutable)) {
	var fresh record
	fresh.pack(p)
	v.mu.Lock()
	defer v.mu.Unlock()
	slot, ok := v.find(p.CID)
	if settle != nil {
		var old *Mutable
		if ok {
			marks := v.at(slot).marks()
			old = &marks
		}
		marks := fresh.marks()
		settle(old, &marks)
		fresh.mark(marks)
	}
	v.latest = max(v.latest, fresh.created)
	if ok {
		v.store(slot, v.at(slot), fresh)
		return
	}
	slot = v.allocate()
	r := v.at(slot)
	*r = fresh
	v.link(slot, r, p.CID)
	if !v.loading {
		v.index.add(slot, r)
	}
	v.counts[r.status]++
	v.n++
	v.loosened(slot)
	v.log(Added, r, 0, r.status)
}

// Update changes the marks of the pin with that CID (that form of it) in place
// and reports whether it is there. change says whether to keep what it made of
// them; it runs under the lock of the view and must not call it.
func (v *View) Update(c cid.Cid, change func(*Mutable) bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	slot, ok := v.find(c)
	if ok {
		v.remark(slot, func(m *Mutable) bool { return change(m) })
	}
	return ok
}

// remark needs the lock.
func (v *View) remark(slot uint32, change func(*Mutable) bool) {
	r := v.at(slot)
	m := r.marks()
	if !change(&m) {
		return
	}
	fresh := *r
	fresh.mark(m)
	v.latest = max(v.latest, fresh.created)
	v.store(slot, r, fresh)
}

// UpdateAll shows every pin to change, in no order, with the bytes of its CID (as
// KeyString) and its marks, which it may change as in Mark. Writers and readers
// come in between: what is put in or taken out meanwhile may be shown or not.
func (v *View) UpdateAll(change func(key string, m *Mutable) bool) {
	for slab := 0; v.walkSlab(slab, change); slab++ {
	}
}

func (v *View) walkSlab(slab int, change func(key string, m *Mutable) bool) bool {
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
		v.remark(uint32(slab*slabSize+i), func(m *Mutable) bool { return change(r.cidKey(), m) })
	}
	return true
}

// Lookup returns the mutable part of the pin with that CID (that form of it).
func (v *View) Lookup(c cid.Cid) (Mutable, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	slot, ok := v.find(c)
	if !ok {
		return Mutable{}, false
	}
	return v.at(slot).marks(), true
}

// Counts are the numbers of pins by status.
func (v *View) Counts() [pinsvc.StatusFailed + 1]int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.counts
}

// Count is how many pins have one of the statuses.
func (v *View) Count(set pinsvc.StatusSet) int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := 0
	for _, s := range statuses {
		if set.Has(s) {
			n += v.counts[s]
		}
	}
	return n
}

// eachChunk is how many pins Each reads under one lock.
const eachChunk = 1024

// ForEach shows the pins of some statuses, newest first, until visit returns
// false. It looks at no others, and writers come in between: a pin whose
// status or creation time changes meanwhile may be missed or shown twice.
func (v *View) ForEach(set pinsvc.StatusSet, visit func(key string, m Mutable) bool) {
	type entry struct {
		key   string
		marks Mutable
	}
	p := predicate{statuses: set, window: window{newest: math.MaxInt64, oldest: math.MinInt64}}
	var entries []entry
	read := func() (more bool) {
		v.mu.RLock()
		defer v.mu.RUnlock()
		entries = entries[:0]
		keys := first(nil, v.index.spans(&p), eachChunk+1, v.compare)
		if len(keys) == 0 {
			return false
		}
		if cut(keys, eachChunk) == 0 { // One group of equal times: all of it.
			w := predicate{statuses: set, window: window{newest: keys[0].created, oldest: keys[0].created}}
			keys = first(nil, v.index.spans(&w), math.MaxInt32, v.compare)
		} else {
			keys = keys[:cut(keys, eachChunk)]
		}
		for _, k := range keys {
			r := v.at(k.slot)
			entries = append(entries, entry{r.cidKey(), r.marks()})
		}
		p.window.newest = keys[len(keys)-1].created - 1
		return true
	}
	for read() {
		for _, e := range entries {
			if !visit(e.key, e.marks) {
				return
			}
		}
	}
}
