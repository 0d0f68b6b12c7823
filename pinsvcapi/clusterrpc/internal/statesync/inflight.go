package statesync

import (
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// inFlight are the pins that writers of this peer hold, from before they read the
// record until their write has ended. Of the events that come meanwhile those of the
// writers' own changes say nothing new; any other means that somebody else writes to
// the key at the same time, so that the state has to be read. It is safe for concurrent
// use.
type inFlight struct {
	mu   sync.Mutex
	pins map[string]*writing // by pinsvc.PinKey
}

// writing is one pin that a writer holds.
type writing struct {
	// key and form are of the change that was submitted; key is undefined before.
	key  cid.Cid
	form uint64
	// others: an event reported something else since the writer has the pin.
	others bool
}

func (f *inFlight) begin(c cid.Cid) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pins == nil {
		f.pins = make(map[string]*writing)
	}
	f.pins[pinsvc.PinKey(c)] = &writing{}
}

func (f *inFlight) end(c cid.Cid) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pins, pinsvc.PinKey(c))
}

// submitted notes what the writer of a pin is about to submit.
func (f *inFlight) submitted(key cid.Cid, form uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w, ok := f.pins[pinsvc.PinKey(key)]; ok {
		w.key, w.form = key, form
	}
}

// failed notes that the change that was submitted may come into effect at any time, so
// that its event is news.
func (f *inFlight) failed(key cid.Cid) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w, ok := f.pins[pinsvc.PinKey(key)]; ok {
		w.key = cid.Undef
	}
}

// ours reports whether an event is that of the change that was submitted.
func (f *inFlight) ours(e Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.pins[pinsvc.PinKey(e.CID)]
	if !ok {
		return false
	}
	if w.key.Defined() && w.key == e.CID && w.form == e.Form {
		return true
	}
	w.others = true
	return false
}

// alone reports whether nothing else happened to a pin since its writer has it.
func (f *inFlight) alone(key cid.Cid) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.pins[pinsvc.PinKey(key)]
	return ok && !w.others
}
