package sectionconfig

import (
	"errors"
	"fmt"
	"slices"
)

// Fault is one mistake in a section. It never holds a secret.
type Fault struct {
	// Section is the section's name, such as api.pinsvcapi.
	Section string
	// Key is the key's name in the file, or empty for the whole section.
	Key string
	// Problem describes the mistake. It is written after the key.
	Problem string
}

// Error is "<section>.<key>: <problem>".
func (f *Fault) Error() string {
	if f.Key == "" {
		return f.Section + ": " + f.Problem
	}
	return f.Section + "." + f.Key + ": " + f.Problem
}

// Faults collects the faults of one section.
type Faults struct {
	section string
	list    []*Fault
}

// Add adds a fault of a key.
func (f *Faults) Add(key, format string, args ...any) {
	f.list = append(f.list, &Fault{Section: f.section, Key: key, Problem: fmt.Sprintf(format, args...)})
}

// addAll adds one fault for each of the errors that err joins. before is put
// before their texts.
func (f *Faults) addAll(key, before string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			f.addAll(key, before, e)
		}
		return
	}
	f.Add(key, "%s%v", before, err)
}

// Has reports whether one of the keys has a fault. Checks that depend on such a
// key should be left out: their faults would be consequences.
func (f *Faults) Has(keys ...string) bool {
	return slices.ContainsFunc(f.list, func(fault *Fault) bool {
		return slices.Contains(keys, fault.Key)
	})
}

func (f *Faults) clone() *Faults {
	return &Faults{section: f.section, list: slices.Clone(f.list)}
}

// Err joins the faults, each of type *Fault, or returns nil if there are none.
func (f *Faults) Err() error {
	errs := make([]error, len(f.list))
	for i, fault := range f.list {
		errs[i] = fault
	}
	return errors.Join(errs...)
}
