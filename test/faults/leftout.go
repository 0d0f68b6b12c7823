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

// exceptions are none: the daemon withstands what the runner does.
func exceptions() []exception { return nil }

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
