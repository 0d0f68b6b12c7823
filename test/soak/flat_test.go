package soak

import (
	"cmp"
	"slices"
	"testing"
)

// sample is what the process uses while nothing is asked of it.
type sample struct {
	heap       uint64 // in use after a collection
	goroutines int
	resident   int64
	done       tally
}

const (
	// What is remembered for some time only (messages of the last minutes,
	// buffers) still grows in the first third of a run.
	warmUp = samples / 3
	// heapSlack and goroutineSlack are what may come and go.
	heapSlack      = 2 << 20
	goroutineSlack = 10
)

// checkFlat compares the end of a run with its middle: the middle of each is
// taken, so that no single sample decides.
func checkFlat(t testing.TB, taken []sample) {
	t.Helper()
	taken = taken[warmUp:]
	middle, end := taken[:len(taken)/2], taken[len(taken)/2:]
	heapOf := func(s sample) uint64 { return s.heap }
	before, after := median(middle, heapOf), median(end, heapOf)
	if after > before+before/20+heapSlack {
		t.Errorf("the heap has grown from %d to %d bytes", before, after)
	}
	countOf := func(s sample) int { return s.goroutines }
	if before, after := median(middle, countOf), median(end, countOf); after > before+goroutineSlack {
		t.Errorf("%d goroutines have become %d", before, after)
	}
}

func median[T cmp.Ordered](taken []sample, of func(sample) T) T {
	values := make([]T, len(taken))
	for i, s := range taken {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// TestFlatnessIsSeen makes sure that growth would be noticed.
func TestFlatnessIsSeen(t *testing.T) {
	for name, tt := range map[string]struct {
		heap, goroutines int // growth for each sample
		flat             bool
	}{
		"flat":               {0, 0, true},
		"a leak of memory":   {1 << 20, 0, false},
		"a leak of routines": {0, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			var taken []sample
			for i := range samples {
				taken = append(taken, sample{heap: uint64(50<<20 + i*tt.heap), goroutines: 300 + i*tt.goroutines})
			}
			seen := &recorder{TB: t}
			checkFlat(seen, taken)
			if seen.failed == tt.flat {
				t.Errorf("flat: %v", !seen.failed)
			}
		})
	}
}

// recorder notes a failure instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
