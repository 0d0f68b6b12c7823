package peerstatus

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func identity(key string) string { return key }

func TestInterner_NumberZeroIsTheEmptyKey(t *testing.T) {
	in := newInterner[string]()
	if n := in.intern(nil, identity); n != 0 || in.at(0) != "" {
		t.Errorf("the empty key has the number %d and the value %q", n, in.at(0))
	}
	for range 3 { // It stays although nobody uses it.
		in.beginSweep()
		in.sweep()
	}
	if n := in.intern(nil, identity); n != 0 || in.len() != 1 {
		t.Errorf("the empty key has the number %d, %d values", n, in.len())
	}
}

func TestInterner_MakesAValueOnce(t *testing.T) {
	in := newInterner[*int]()
	made := 0
	build := func(string) *int { made++; return &made }
	a, b := in.intern([]byte("x"), build), in.intern([]byte("x"), build)
	if a != b || a == 0 || made != 1 {
		t.Errorf("numbers %d and %d, made %d times", a, b, made)
	}
}

func TestInterner_NumberIsReusedOneSweepLaterAtTheEarliest(t *testing.T) {
	in := newInterner[string]()
	old := in.intern([]byte("old"), identity)
	in.beginSweep()
	in.sweep()
	if n := in.intern([]byte("new"), identity); n == old {
		t.Error("the number is used again before the next sweep")
	}
	if got := in.at(old); got != "old" {
		t.Errorf("a reader with the number finds %q", got)
	}
	if n := in.intern([]byte("old"), identity); n == old {
		t.Error("a reclaimed number is given out again")
	}
	in.beginSweep()
	in.used(2)
	in.sweep()
	if n := in.intern([]byte("newer"), identity); n != old {
		t.Errorf("number %d, but %d is free", n, old)
	}
}

// A value that is interned between beginSweep and sweep is in use.
func TestInterner_ValueMadeDuringASweepStays(t *testing.T) {
	in := newInterner[string]()
	known := in.intern([]byte("known"), identity)
	in.beginSweep()
	again, fresh := in.intern([]byte("known"), identity), in.intern([]byte("fresh"), identity)
	in.sweep()
	if again != known || in.intern([]byte("fresh"), identity) != fresh || in.len() != 3 {
		t.Errorf("numbers %d, %d and %d, %d values", known, again, fresh, in.len())
	}
}

// internModel has what the interner must know: the key of each number, as pins
// and as readers hold them.
type internModel struct {
	in   interner[string]
	pins map[int]uint32    // the number that a pin has
	keys map[uint32]string // of all numbers that pins have, or had at the last sweep
}

func (m *internModel) check(t *rapid.T) {
	for n, key := range m.keys {
		if got := m.in.at(n); got != key {
			t.Fatalf("number %d is %q, want %q", n, got, key)
		}
	}
	numbers := make(map[string]uint32)
	for _, n := range m.pins {
		if other, ok := numbers[m.keys[n]]; ok && other != n {
			t.Fatalf("%q has the numbers %d and %d", m.keys[n], n, other)
		}
		numbers[m.keys[n]] = n
	}
}

// The interner is a map from pins to keys, whatever sweeps come in between, and a
// number that a pin had before the last sweep still has its key.
func TestInterner_IsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := internModel{in: newInterner[string](), pins: make(map[int]uint32), keys: make(map[uint32]string)}
		give := func(t *rapid.T) {
			key := fmt.Sprint(rapid.IntRange(0, 12).Draw(t, "key"))
			n := m.in.intern([]byte(key), identity)
			if old, ok := m.keys[n]; ok && old != key {
				t.Fatalf("%q got the number of %q", key, old)
			}
			m.pins[rapid.IntRange(0, 5).Draw(t, "pin")], m.keys[n] = n, key
		}
		t.Repeat(map[string]func(*rapid.T){
			"give":   give,
			"remove": func(t *rapid.T) { delete(m.pins, rapid.IntRange(0, 5).Draw(t, "pin")) },
			"sweep": func(t *rapid.T) {
				m.in.beginSweep()
				if rapid.Bool().Draw(t, "meanwhile") {
					give(t)
				}
				inUse := slices.Collect(maps.Values(m.pins))
				for _, n := range inUse {
					m.in.used(n)
				}
				m.in.sweep()
				for n := range m.keys {
					// Numbers that were reclaimed by this sweep are kept for one more.
					if _, cooling := slices.BinarySearch(sorted(m.in.cooling), n); !cooling && !slices.Contains(inUse, n) {
						delete(m.keys, n)
					}
				}
				slices.Sort(inUse)
				if kept := len(slices.Compact(inUse)); m.in.len() > kept+2 { // The empty key, and one given meanwhile.
					t.Fatalf("%d values are kept for %d in use", m.in.len(), kept)
				}
			},
			"": m.check,
		})
	})
}

func sorted(numbers []uint32) []uint32 {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	return numbers
}
