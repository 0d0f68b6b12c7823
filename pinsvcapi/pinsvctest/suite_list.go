package pinsvctest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func testListEmpty(t *testing.T, s suite) {
	if page := s.list(pinsvc.Query{}); page.Count != 0 || len(page.Results) != 0 {
		t.Errorf("%+v", page)
	}
}

// day is a moment in the past that pins made elsewhere count from.
func day(ms int) time.Time {
	return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

// names are of a page's pins, in its order.
func names(page pinsvc.PinResults) []string {
	names := []string{}
	for _, st := range page.Results {
		names = append(names, st.Pin.Name)
	}
	return names
}

func testListFilters(t *testing.T, s suite) {
	s.PinElsewhere(t, day(1), pinsvc.Pin{CID: RawCID(1), Name: "Alpha", Meta: map[string]string{"k": "v", "e": ""}})
	s.PinElsewhere(t, day(2), pinsvc.Pin{CID: RawCID(2), Name: "alpha", Meta: map[string]string{"k": "v"}})
	s.PinElsewhere(t, day(3), pinsvc.Pin{CID: RawCID(3), Name: "an ALPHA pin", Meta: map[string]string{"k": "w"}})
	s.PinElsewhere(t, day(4), pinsvc.Pin{CID: RawCID(4), Name: "beta"})
	s.SetStatus(t, RawCID(1).String(), pinsvc.StatusPinned)
	s.SetStatus(t, RawCID(2).String(), pinsvc.StatusFailed)
	s.SetStatus(t, RawCID(3).String(), pinsvc.StatusQueued)
	s.SetStatus(t, RawCID(4).String(), pinsvc.StatusPinned)
	tests := []struct {
		name string
		q    pinsvc.Query
		want []string
	}{
		{"none", pinsvc.Query{}, []string{"beta", "an ALPHA pin", "alpha", "Alpha"}},
		{"exact", pinsvc.Query{Name: "alpha"}, []string{"alpha"}},
		{"iexact", pinsvc.Query{Name: "aLPHA", Match: pinsvc.MatchIExact}, []string{"alpha", "Alpha"}},
		{"partial", pinsvc.Query{Name: "pha", Match: pinsvc.MatchPartial}, []string{"alpha", "Alpha"}},
		{"ipartial", pinsvc.Query{Name: "pHa", Match: pinsvc.MatchIPartial}, []string{"an ALPHA pin", "alpha", "Alpha"}},
		{"nobody's name", pinsvc.Query{Name: "gamma", Match: pinsvc.MatchIPartial}, []string{}},
		{"one status", pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}, []string{"beta", "Alpha"}},
		{"two statuses", pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusFailed, pinsvc.StatusQueued)}, []string{"an ALPHA pin", "alpha"}},
		{"meta", pinsvc.Query{Meta: map[string]string{"k": "v"}}, []string{"alpha", "Alpha"}},
		{"meta with an empty value needs the key", pinsvc.Query{Meta: map[string]string{"e": ""}}, []string{"Alpha"}},
		{"meta of two pairs", pinsvc.Query{Meta: map[string]string{"k": "v", "e": ""}}, []string{"Alpha"}},
		{"cid", pinsvc.Query{CIDs: []cid.Cid{RawCID(2), RawCID(4), RawCID(9)}}, []string{"beta", "alpha"}},
		{"cid and name", pinsvc.Query{CIDs: []cid.Cid{RawCID(2), RawCID(4)}, Name: "beta"}, []string{"beta"}},
		{"cid and status", pinsvc.Query{CIDs: []cid.Cid{RawCID(2)}, Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}, []string{}},
		{"cid and meta", pinsvc.Query{CIDs: []cid.Cid{RawCID(2), RawCID(3)}, Meta: map[string]string{"k": "w"}}, []string{"an ALPHA pin"}},
		{"cid and before", pinsvc.Query{CIDs: []cid.Cid{RawCID(2), RawCID(4)}, Before: day(4)}, []string{"alpha"}},
		{"all", pinsvc.Query{
			CIDs: []cid.Cid{RawCID(1), RawCID(2)}, Name: "ALPHA", Match: pinsvc.MatchIExact, Meta: map[string]string{"k": "v"},
			Statuses: pinsvc.SetOf(pinsvc.StatusPinned, pinsvc.StatusFailed), Before: day(3), After: day(1),
		}, []string{"alpha"}},
	}
	for _, tt := range tests {
		page := s.list(tt.q)
		if got := names(page); !slices.Equal(got, tt.want) || page.Count != len(tt.want) {
			t.Errorf("%s: %d pins %q, want %q", tt.name, page.Count, got, tt.want)
		}
		tt.q.Limit = 1
		if page := s.list(tt.q); page.Count != len(tt.want) || len(page.Results) != min(1, len(tt.want)) {
			t.Errorf("%s, limit 1: %d of %d, want 1 of %d", tt.name, len(page.Results), page.Count, len(tt.want))
		}
	}
}

// testListStatus proves that lists, filters and Get use one status (D5).
func testListStatus(t *testing.T, s suite) {
	st := s.add(pinsvc.Pin{CID: RawCID(1)})
	all := []pinsvc.Status{pinsvc.StatusQueued, pinsvc.StatusPinning, pinsvc.StatusPinned, pinsvc.StatusFailed}
	for _, status := range []pinsvc.Status{pinsvc.StatusPinning, pinsvc.StatusPinned} {
		s.SetStatus(t, st.RequestID, status)
		if got := s.get(st.RequestID); got.Status != status {
			t.Errorf("Get says %s, want %s", got.Status, status)
		}
		for _, filter := range all {
			page := s.list(pinsvc.Query{Statuses: pinsvc.SetOf(filter)})
			if want := filter == status; (page.Count == 1) != want {
				t.Errorf("a pin that is %s: status=%s counts %d", status, filter, page.Count)
			}
			for _, got := range page.Results {
				if got.Status != filter {
					t.Errorf("status=%s lists a pin that is %s", filter, got.Status)
				}
			}
		}
	}
}

func testListBounds(t *testing.T, s suite) {
	for i := range 5 {
		s.PinElsewhere(t, day(i), pinsvc.Pin{CID: RawCID(i), Name: fmt.Sprint(i)})
	}
	tests := []struct {
		before, after time.Time
		want          []string
	}{
		{day(3), time.Time{}, []string{"2", "1", "0"}},
		{time.Time{}, day(3), []string{"4"}},
		{day(3), day(1), []string{"2"}},
		{day(2), day(1), []string{}},
		{day(3).Add(time.Nanosecond), day(1).Add(-time.Nanosecond), []string{"3", "2", "1"}},
		{day(2).In(time.FixedZone("", 3600)), time.Time{}, []string{"1", "0"}},
	}
	for _, tt := range tests {
		page := s.list(pinsvc.Query{Before: tt.before, After: tt.after})
		if got := names(page); !slices.Equal(got, tt.want) || page.Count != len(tt.want) {
			t.Errorf("before %v after %v: %d pins %q, want %q", tt.before, tt.after, page.Count, got, tt.want)
		}
	}
}

func testListCIDs(t *testing.T, s suite) {
	s.add(pinsvc.Pin{CID: V0CID(1), Name: "v0"})
	s.add(pinsvc.Pin{CID: V1CID(2), Name: "v1"})
	s.add(pinsvc.Pin{CID: RawCID(1), Name: "raw"})
	tests := []struct {
		cids []cid.Cid
		want []string
	}{
		{[]cid.Cid{V1CID(1)}, []string{"v0"}},
		{[]cid.Cid{V0CID(2)}, []string{"v1"}},
		{[]cid.Cid{V0CID(1), RawCID(1), V0CID(2)}, []string{"raw", "v1", "v0"}},
		{[]cid.Cid{RawCID(2)}, []string{}},
	}
	for _, tt := range tests {
		page := s.list(pinsvc.Query{CIDs: tt.cids})
		if got := names(page); !slices.Equal(got, tt.want) || page.Count != len(tt.want) {
			t.Errorf("cid=%v: %d pins %q, want %q", tt.cids, page.Count, got, tt.want)
		}
	}
}

// walk lists everything as Kubo does: by before, until count shows that this
// page is the last.
func (s suite) walk(q pinsvc.Query) (pages []pinsvc.PinResults) {
	s.t.Helper()
	for range 1000 {
		page := s.list(q)
		pages = append(pages, page)
		if page.Count == len(page.Results) {
			return pages
		}
		if len(page.Results) == 0 {
			s.t.Fatalf("an empty page of %d matches", page.Count)
		}
		q.Before = page.Results[len(page.Results)-1].Created
	}
	s.t.Fatal("the list never ends")
	return nil
}

// testListPages has groups of 1 to 5 pins with equal created, and walks them
// with every limit.
func testListPages(t *testing.T, s suite) {
	total := 0
	for group := range 9 {
		for range 1 + group%5 {
			s.PinElsewhere(t, day(group), pinsvc.Pin{CID: RawCID(total)})
			total++
		}
	}
	for limit := 1; limit <= total+1; limit++ {
		seen := make(map[string]bool)
		var last time.Time
		for _, page := range s.walk(pinsvc.Query{Limit: limit}) {
			if page.Count != total-len(seen) {
				t.Fatalf("limit %d: count %d with %d of %d seen", limit, page.Count, len(seen), total)
			}
			for _, st := range page.Results {
				if seen[st.RequestID] {
					t.Fatalf("limit %d: %s twice", limit, st.RequestID)
				}
				if !last.IsZero() && st.Created.After(last) {
					t.Fatalf("limit %d: %v after %v", limit, st.Created, last)
				}
				seen[st.RequestID], last = true, st.Created
			}
			if n := len(page.Results); n > max(limit, 5) {
				t.Fatalf("limit %d: a page of %d", limit, n)
			}
		}
		if len(seen) != total {
			t.Fatalf("limit %d: %d of %d", limit, len(seen), total)
		}
	}
}

func testListLargeGroup(t *testing.T, s suite) {
	const group = 25
	var pins []pinsvc.Pin
	for i := range group {
		pins = append(pins, pinsvc.Pin{CID: RawCID(i)})
	}
	s.PinElsewhere(t, day(1), pins...)
	s.PinElsewhere(t, day(0), pinsvc.Pin{CID: RawCID(group)})
	s.PinElsewhere(t, day(2), pinsvc.Pin{CID: RawCID(group + 1)})
	sizes := []int{}
	for _, page := range s.walk(pinsvc.Query{Limit: 10}) {
		sizes = append(sizes, len(page.Results))
	}
	if want := []int{1, group, 1}; !slices.Equal(sizes, want) {
		t.Errorf("pages of %v, want %v", sizes, want)
	}
}
