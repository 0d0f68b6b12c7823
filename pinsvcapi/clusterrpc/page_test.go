package clusterrpc

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func at(ms int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(ms)).UTC() }

// drawMatches has many equal times.
func drawMatches(t *rapid.T) []match {
	times := rapid.SliceOfN(rapid.IntRange(0, 12), 0, 60).Draw(t, "times")
	matches := make([]match, len(times))
	for i, ms := range times {
		matches[i] = match{rec: api.PinCid(api.NewCid(pinsvctest.RawCID(i))), created: at(ms)}
	}
	return matches
}

// TestPagingByBeforeFindsEachPinOnce walks random pinsets as clients do, with
// every limit.
func TestPagingByBeforeFindsEachPinOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawMatches(t)
		for limit := 1; limit <= len(all)+1; limit++ {
			walk(t, all, limit)
		}
	})
}

func walk(t *rapid.T, all []match, limit int) {
	seen := make(map[string]bool)
	var before, last time.Time
	for range len(all) + 1 {
		p := newPage(limit)
		for _, m := range all {
			if before.IsZero() || m.created.Before(before) {
				p.add(m)
			}
		}
		if p.count != len(all)-len(seen) {
			t.Fatalf("limit %d: count %d with %d of %d seen", limit, p.count, len(seen), len(all))
		}
		page := p.cut()
		for _, m := range page {
			key := m.rec.Cid.KeyString()
			if seen[key] {
				t.Fatalf("limit %d: %s twice", limit, m.rec.Cid)
			}
			if !last.IsZero() && m.created.After(last) {
				t.Fatalf("limit %d: %v after %v", limit, m.created, last)
			}
			seen[key], last = true, m.created
		}
		if len(page) > limit && !page[0].created.Equal(page[len(page)-1].created) {
			t.Fatalf("limit %d: a page of %d with two times", limit, len(page))
		}
		if p.count == len(page) {
			break
		}
		if len(page) == 0 {
			t.Fatalf("limit %d: an empty page of %d matches", limit, p.count)
		}
		before = last
	}
	if len(seen) != len(all) {
		t.Fatalf("limit %d: %d of %d pins", limit, len(seen), len(all))
	}
}

// TestPageIsThatOfASortedList compares with the plainest way to cut a page.
func TestPageIsThatOfASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawMatches(t)
		limit := rapid.IntRange(1, 70).Draw(t, "limit")
		p := newPage(limit)
		for _, m := range all {
			p.add(m)
		}
		slices.SortFunc(all, newerFirst)
		want := all[:min(limit, len(all))]
		if got := p.cut(); len(got) <= limit {
			want = want[:len(got)]
			if !slices.EqualFunc(got, want, func(a, b match) bool { return newerFirst(a, b) == 0 }) {
				t.Fatalf("not the newest %d of %d", len(got), len(all))
			}
		}
	})
}

func TestPageKeepsNoMoreThanItCanNeed(t *testing.T) {
	p := newPage(10)
	for i := range 5000 {
		p.add(match{rec: api.PinCid(api.NewCid(pinsvctest.RawCID(i))), created: at(i)})
	}
	if len(p.kept) > pinsvc.MaxLimit+1 {
		t.Errorf("%d matches are kept", len(p.kept))
	}
	page := p.cut()
	if p.count != 5000 || len(page) != 10 || !page[0].created.Equal(at(4999)) || !page[9].created.Equal(at(4990)) {
		t.Errorf("%d of %d, from %v to %v", len(page), p.count, page[0].created, page[len(page)-1].created)
	}
}

func TestAGroupLargerThanAPageEndsAtTheMaximum(t *testing.T) {
	for size, want := range map[int]int{11: 11, 999: 999, 1000: 1000, 1001: 1000, 1500: 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := newPage(10)
			for i := range size {
				p.add(match{rec: api.PinCid(api.NewCid(pinsvctest.RawCID(i))), created: at(0)})
			}
			if got := len(p.cut()); got != want || p.count != size {
				t.Errorf("%d of %d, want %d of %d", got, p.count, want, size)
			}
		})
	}
}
