package faults

import "slices"

// exception is what the short runs leave out because the daemon does not keep
// that promise yet. The long run leaves out nothing. Whoever mends a fault
// removes its entry.
type exception struct {
	reason string
	modes  []Mode // nil: all
	// kinds are faults that do not happen.
	kinds []FaultKind
	// invariants are not checked.
	invariants []Invariant
	// options leaves out something else; nil leaves out nothing.
	options func(*Options)
}

func exceptions() []exception {
	return []exception{
		{
			reason:  "POST and DELETE of one CID at two peers at once may leave a pin in a node for ever",
			modes:   []Mode{CRDT, Batching},
			options: func(o *Options) { o.NoSharedDelete = true },
		},
		{
			reason:  "a write at a peer that knows of a pin only by asking another one may lose against the older write there",
			modes:   []Mode{CRDT, Batching},
			options: func(o *Options) { o.NoMove = true },
		},
		{
			reason:  "a GET of a deleted pin asks the other peers, and shows what one that lags behind still has",
			modes:   []Mode{CRDT, Batching},
			options: func(o *Options) { o.NoReadOfAbsent = true },
		},
	}
}

// leaveOut applies the exceptions of a mode.
func leaveOut(o *Options) {
	p := &o.Plan
	p.Kinds = p.kindNames()
	for _, e := range exceptions() {
		if e.modes != nil && !slices.Contains(e.modes, p.Mode) {
			continue
		}
		p.Kinds = slices.DeleteFunc(p.Kinds, func(k FaultKind) bool { return slices.Contains(e.kinds, k) })
		o.Unchecked = append(o.Unchecked, e.invariants...)
		if e.options != nil {
			e.options(o)
		}
	}
}
