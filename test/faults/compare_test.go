package faults

import (
	"slices"
	"testing"
)

func TestCompare(t *testing.T) {
	list := func(rows ...row) map[string]row {
		m := map[string]row{}
		for _, r := range rows {
			m[r.CID] = r
		}
		return m
	}
	a := row{Record: Record{Name: "n"}, CID: "a", RequestID: "a", Created: "t", Status: "pinned"}
	with := func(change func(*row)) row { r := a; change(&r); return r }
	tests := map[string]struct {
		one, two sight
		dead     bool
		want     []Invariant
		enough   int
	}{
		"all agree":      {sight{rows: list(a), pins: pinned("a")}, sight{rows: list(a), pins: pinned("a")}, false, nil, 1},
		"nothing at all": {sight{}, sight{}, false, nil, 1},
		"one does not list it": {sight{rows: list(a), pins: pinned("a")}, sight{pins: pinned()}, false,
			[]Invariant{Agreement, Recovery}, 1},
		"another name": {sight{rows: list(a), pins: pinned("a")}, sight{rows: list(with(func(r *row) { r.Name = "x" })), pins: pinned("a")}, false,
			[]Invariant{Agreement}, 1},
		"another time": {sight{rows: list(a), pins: pinned("a")}, sight{rows: list(with(func(r *row) { r.Created = "x" })), pins: pinned("a")}, false,
			[]Invariant{Agreement}, 1},
		"pinned nowhere":         {sight{rows: list(a)}, sight{rows: list(a)}, false, []Invariant{Truth, Truth}, 1},
		"pinned at one":          {sight{rows: list(a), pins: pinned("a")}, sight{rows: list(a)}, false, []Invariant{Recovery, Recovery}, 1},
		"pinned at one of two":   {sight{rows: list(a), pins: pinned("a")}, sight{rows: list(a)}, false, []Invariant{Truth, Truth}, 2},
		"pinned and called else": {sight{rows: list(a), pins: pinned("a")}, sight{rows: list(with(func(r *row) { r.Status = "queued" })), pins: pinned("a")}, false, []Invariant{Truth}, 1},
		"not pinned yet":         {sight{rows: list(with(func(r *row) { r.Status = "queued" }))}, sight{rows: list(with(func(r *row) { r.Status = "queued" }))}, false, []Invariant{Recovery, Recovery}, 1},
		"of content that nobody has": {sight{rows: list(with(func(r *row) { r.Status = "failed" }))},
			sight{rows: list(with(func(r *row) { r.Status = "failed" }))}, true, nil, 1},
		"two rows of one": {sight{rows: list(a), pins: pinned("a"), twice: []string{"a twice"}}, sight{rows: list(a), pins: pinned("a")}, false,
			[]Invariant{Agreement}, 1},
		"in a node and in no list": {sight{pins: pinned("a")}, sight{}, false, []Invariant{Strays}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u := universe{cids: []string{"a"}, copies: 2, enough: max(1, tt.enough), dead: map[string]bool{"a": tt.dead}}
			var got []Invariant
			for _, p := range compare([]sight{tt.one, tt.two}, u) {
				got = append(got, p.Invariant)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The old content of a replace may stay while the new one is not pinned and names it.
func TestCompare_KeepsReplacedContent(t *testing.T) {
	for _, tt := range []struct {
		status, kept string
		strays       bool
	}{
		{"failed", "z, a", false}, {"pinning", "a and 3 more", false}, {"pinned", "a", true}, {"failed", "", true}, {"failed", "z", true}, {"", "", true},
	} {
		s := sight{rows: map[string]row{}, pins: pinned("a")}
		if tt.status != "" {
			s.rows["c"] = row{CID: "c", Status: tt.status, Kept: keptIn(tt.kept)}
		}
		if got := len(compare([]sight{s}, universe{cids: []string{"a"}})) > 0; got != tt.strays {
			t.Errorf("the new content is %q and keeps %q: got %v", tt.status, tt.kept, got)
		}
	}
}

// A peer has caught up when it has what another one has, but for what is being changed.
func TestLags(t *testing.T) {
	at := func(created string) map[string]row { return map[string]row{"a": {CID: "a", Created: created}} }
	none := map[string]row{}
	for name, tt := range map[string]struct {
		before, peer, after map[string]row
		want                bool
	}{
		"has it":                  {at("1"), at("1"), at("1"), false},
		"has no pin either":       {none, none, none, false},
		"lacks it":                {at("1"), none, at("1"), true},
		"has what was deleted":    {none, at("1"), none, true},
		"has what was superseded": {at("2"), at("1"), at("2"), true},
		"added meanwhile":         {none, at("1"), at("1"), false},
		"deleted meanwhile":       {at("1"), at("1"), none, false},
		"changed meanwhile":       {at("1"), none, at("2"), false},
	} {
		if _, got := lags(tt.before, tt.peer, tt.after, []string{"a"}); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
