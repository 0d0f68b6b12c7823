package pinrecord

import (
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The clock of the machine jumps, and creation times of other peers come in.
func TestClock_GrowsWhateverTheMachinesClockDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMilli(1_700_000_000_000).UTC()
		c := NewClock(func() time.Time { return now })
		highest := time.Time{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(-5e9, 5e9).Draw(t, "step")))
			if rapid.Bool().Draw(t, "another peer's") {
				observed := now.Add(time.Duration(rapid.Int64Range(-3e9, 3e9).Draw(t, "ahead"))).Truncate(time.Millisecond)
				c.Observe(observed)
				if observed.After(highest) {
					highest = observed
				}
				continue
			}
			got := c.Next()
			if !got.After(highest) || !got.Equal(got.Truncate(time.Millisecond)) {
				t.Fatalf("%v after %v", got, highest)
			}
			highest = got
		}
	})
}

// C22: one record with a wrong time must not decide the creation time of every
// later pin.
func TestClock_IgnoresTimesFarAhead(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name     string
		observed time.Time
		follows  bool
	}{
		{"long ago", now.AddDate(-50, 0, 0), false},
		{"now", now, true},
		{"a few hours ahead", now.Add(5 * time.Hour), true},
		{"a day ahead", now.Add(24 * time.Hour), true},
		{"more than a day ahead", now.Add(24*time.Hour + time.Millisecond), false},
		{"a year ahead", now.AddDate(1, 0, 0), false},
		{"in the year 8999", time.Date(8999, 12, 31, 23, 59, 59, 999_000_000, time.UTC), false},
	}
	for _, tt := range tests {
		c := NewClock(func() time.Time { return now })
		c.Observe(tt.observed)
		want := now
		if tt.follows {
			want = tt.observed.Add(time.Millisecond)
		}
		if got := c.Next(); !got.Equal(want) {
			t.Errorf("%s: next is %v, want %v", tt.name, got, want)
		}
	}
}

// A time that was ignored does not count later either, and one that the clock
// follows holds when the machine's clock steps back.
func TestClock_StepBackAfterATimeAhead(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	c := NewClock(func() time.Time { return now })
	ahead := now.Add(20 * time.Hour)
	c.Observe(ahead)
	now = now.AddDate(0, -1, 0)
	first, second := c.Next(), c.Next()
	if !first.Equal(ahead.Add(time.Millisecond)) || !second.Equal(ahead.Add(2*time.Millisecond)) {
		t.Errorf("%v and %v, want them after %v", first, second, ahead)
	}
}

// The record of the year 8999 in full: it is readable, and does not move the
// clock.
func TestClock_RecordOfTheYear8999(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	rec := New(pinsvctest.RawCID(1))
	rec.Metadata = map[string]string{}
	Stamp(rec, time.Date(8999, 1, 2, 3, 4, 5, 0, time.UTC))
	created, ours := CreatedOf(rec)
	if created.Year() != 8999 || !ours {
		t.Fatalf("created %v, ours: %t", created, ours)
	}
	c := NewClock(func() time.Time { return now })
	c.Observe(created)
	if got := c.Next(); !got.Equal(now) {
		t.Errorf("the next pin is created %v", got)
	}
}

func TestClock_ConcurrentTimesDiffer(t *testing.T) {
	c := NewClock(func() time.Time { return time.UnixMilli(1_700_000_000_000) })
	const writers, each = 8, 200
	times := make([][]time.Time, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				times[w] = append(times[w], c.Next())
			}
		})
	}
	wg.Wait()
	seen := make(map[time.Time]bool)
	for _, list := range times {
		for i, got := range list {
			if seen[got] || i > 0 && !got.After(list[i-1]) {
				t.Fatalf("%v twice, or not after the one before", got)
			}
			seen[got] = true
		}
	}
}

// The clock's times survive being written to a record.
func TestClock_NextIsKeptByARecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond"))
		next := NewClock(func() time.Time { return now }).Next()
		rec := api.PinCid(api.NewCid(pinsvctest.RawCID(1)))
		rec.Metadata = map[string]string{}
		Stamp(rec, next)
		if got, ours := CreatedOf(rec); !ours || !got.Equal(next) {
			t.Fatalf("%v, want %v", got, next)
		}
	})
}
