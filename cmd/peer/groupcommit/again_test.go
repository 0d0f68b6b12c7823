package groupcommit

import (
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// failing makes the first commits of a fake fail.
func (f *fake) failing(faults ...fault) {
	f.next = func() fault { // Under the lock of f.
		if len(faults) == 0 {
			return faultNone
		}
		next := faults[0]
		faults = faults[1:]
		return next
	}
}

// The first try is merged and fails; later ones fail before that. Nothing of the first one may live on
// at this peer alone (U53).
func TestCommitter_WhatAFailedTryMergedIsRemovedByALaterOne(t *testing.T) {
	f := newFake()
	f.failing(faultMerged, faultBefore, faultBefore)
	c := start(t, f, func(cfg *Config) { cfg.Watch = watchFake })
	if err := c.Pin(t.Context(), pinOf(1, "new")); !errors.Is(err, ErrUncertain) {
		t.Errorf("pin: %v", err)
	}
	accepted(t, c)
	f.set(func() {
		if key := keyOf(1).String(); f.values[key].Name != "new" || f.orphans[key] || f.commits[0][len(f.commits[0])-2] != "undo "+key {
			t.Errorf("the state has %v, orphans %v, commits %q", f.values, f.orphans, f.commits)
		}
	})
}

// While a commit is tried again, what others wrote comes in. A pending write undoes none of it.
func TestCommitter_APendingWriteUndoesNoNewerOne(t *testing.T) {
	old, theirs := pinOf(1, "old"), pinOf(1, "theirs")
	for name, test := range map[string]struct {
		before *api.Pin
		fault  fault
		theirs *api.Pin
		unpin  bool
		hidden bool // theirs is older to the CRDT than what the failed try has left
		want   string
	}{
		"a change, nothing else came":           {before: &old, fault: faultBefore, theirs: &old, want: "ours"},
		"a change, and a newer one":             {before: &old, fault: faultBefore, theirs: &theirs, want: "theirs"},
		"a change, and a delete":                {before: &old, fault: faultBefore, want: ""},
		"a new pin, and another":                {fault: faultBefore, theirs: &theirs, want: "theirs"},
		"a merged change, and a newer one":      {before: &old, fault: faultMerged, theirs: &theirs, want: "theirs"},
		"a merged change, and the old one anew": {before: &old, fault: faultMerged, theirs: &old, want: "old"},
		"a merged new pin, and a delete":        {fault: faultMerged, want: ""},
		"a merged delete, and a new pin":        {before: &old, fault: faultMerged, theirs: &theirs, unpin: true, want: "theirs"},
		"a merged change, and a hidden delete":  {before: &old, fault: faultMerged, hidden: true, want: ""},
		"a merged change, and a hidden one":     {before: &old, fault: faultMerged, theirs: &theirs, hidden: true, want: "theirs"},
		"a merged change, and nothing hidden":   {before: &old, fault: faultMerged, theirs: &old, hidden: true, want: "ours"},
		"a merged new pin, and a hidden one":    {fault: faultMerged, theirs: &theirs, hidden: true, want: "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.failing(test.fault, faultBefore)
			key := keyOf(1)
			if test.before != nil {
				f.values[key.String()] = *test.before
			}
			c := start(t, f, func(cfg *Config) {
				cfg.Watch = watchFake
				cfg.RetryMin, cfg.RetryMax = 50*time.Millisecond, 50*time.Millisecond
			})
			var err error
			if test.unpin {
				err = c.Unpin(t.Context(), key)
			} else {
				err = c.Pin(t.Context(), pinOf(1, "ours"))
			}
			if !errors.Is(err, ErrUncertain) {
				t.Errorf("it returned %v", err)
			}
			f.set(func() {
				if test.hidden {
					f.beneath[key.String()] = test.theirs
				} else {
					f.put(key.String(), test.theirs)
				}
			})
			accepted(t, c)
			if got := f.name(key); got != test.want {
				t.Errorf("the state has %q, want %q", got, test.want)
			}
		})
	}
}

// Other peers were told of a commit that failed. What they changed since is not undone, by no try of many,
// and what leads to the commit is committed also when that had nothing but a removal.
func TestCommitter_ACommitThatOthersWereToldOfIsNotMadeAgain(t *testing.T) {
	theirs := pinOf(1, "theirs")
	for name, test := range map[string]struct {
		unpin  bool
		theirs *api.Pin
	}{
		"a pin, and a delete": {},
		"a pin, and another":  {theirs: &theirs},
		"a delete, and a pin": {unpin: true, theirs: &theirs},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.failing(faultHead, faultBefore, faultMerged, faultBefore)
			key := keyOf(1)
			f.values[key.String()] = pinOf(1, "old")
			changed := false
			f.before = func() { // The state of this peer hears of it when it is too late to look.
				f.set(func() {
					if len(f.commits) == 1 && !changed {
						changed = true
						f.put(key.String(), test.theirs)
					}
				})
			}
			c := start(t, f, func(cfg *Config) { cfg.Watch = watchFake })
			write := func() error { return c.Pin(t.Context(), pinOf(1, "ours")) }
			if test.unpin {
				write = func() error { return c.Unpin(t.Context(), key) }
			}
			if err := write(); !errors.Is(err, ErrUncertain) {
				t.Errorf("it returned %v", err)
			}
			accepted(t, c)
			want := ""
			if test.theirs != nil {
				want = test.theirs.Name
			}
			if got := f.name(key); got != want {
				t.Errorf("the state has %q, want %q", got, want)
			}
			f.set(func() {
				if len(f.commits) < 2 || len(f.commits[1]) == 0 || f.commits[1][0] != "undo "+key.String() {
					t.Errorf("commits %q", f.commits)
				}
			})
		})
	}
}
