package faults

import (
	"slices"
	"testing"
)

// What an exception names exists, and something is left.
func TestExceptions(t *testing.T) {
	for _, e := range exceptions() {
		if e.reason == "" || (e.kinds == nil && e.invariants == nil && e.options == nil) {
			t.Errorf("%+v leaves out nothing or has no reason", e)
		}
		for _, m := range e.modes {
			if err := m.validate(); err != nil {
				t.Errorf("%q: %v", e.reason, err)
			}
		}
		for _, kind := range e.kinds {
			if !slices.ContainsFunc(faultShapes(), func(s faultShape) bool { return s.kind == kind }) {
				t.Errorf("%q: there is no fault %q", e.reason, kind)
			}
		}
		for _, i := range e.invariants {
			if !slices.Contains(Invariants(), i) {
				t.Errorf("%q: there is no invariant %q", e.reason, i)
			}
		}
	}
	for _, m := range Modes() {
		o := Options{Plan: Plan{Mode: m}}
		leaveOut(&o)
		if len(o.kinds(false)) < 5 || slices.Contains(o.Unchecked, Register) {
			t.Errorf("%s: too little is left: faults %q, without %q", m, o.Kinds, o.Unchecked)
		}
	}
}

func TestCanonical(t *testing.T) {
	const v0, v1 = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR", "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
	if canonical(v1) != v1 || canonical("text") != "text" || canonical(canonical(v0)) != canonical(v0) || canonical(v0) == v0 {
		t.Errorf("%s, %s, %s", canonical(v0), canonical(v1), canonical("text"))
	}
}
