package faults

import (
	"slices"
	"testing"
	"time"
)

// comparedAt is the time of a comparison.
func comparedAt() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// sightOf is what a peer says that counts what it lists and has a shared state of that, and what its node has.
func sightOf(name string, pins map[string]bool, rows ...row) sight {
	s := sight{name: name, rows: map[string]row{}, count: len(rows), allocations: map[string][]string{}, pins: pins}
	for _, r := range rows {
		s.rows[r.CID], s.allocations[r.CID] = r, nil
	}
	return s
}

func invariantsOf(found []Problem) (got []Invariant) {
	for _, p := range found {
		got = append(got, p.Invariant)
	}
	return got
}

// rowA is a pin that two nodes have, and what follows is what else it may be.
func rowA() row {
	return row{Record: Record{Name: "n"}, CID: "a", RequestID: "a", Created: "t", Status: "pinned", Replicas: "2/2"}
}

func (r row) but(change func(*row)) row { change(&r); return r }

func (r row) at(status, replicas string) row { r.Status, r.Replicas = status, replicas; return r }

func (s sight) but(change func(*sight)) sight { change(&s); return s }

func TestCompare(t *testing.T) {
	a, has, lacks := rowA(), pinned("a"), pinned()
	all := func(rows ...row) []sight { return []sight{sightOf("one", has, rows...), sightOf("two", has, rows...)} }
	none := func(rows ...row) []sight {
		return []sight{sightOf("one", lacks, rows...), sightOf("two", lacks, rows...)}
	}
	half := func(rows ...row) []sight {
		return []sight{sightOf("one", has, rows...), sightOf("two", lacks, rows...)}
	}
	two := func(one, other sight) []sight { return []sight{one, other} }
	tests := map[string]struct {
		all    []sight
		want   []Invariant
		change func(*universe)
	}{
		"all agree":      {all(a), nil, nil},
		"nothing at all": {none(), nil, nil},
		"one does not list it": {two(sightOf("one", has, a), sightOf("two", lacks)),
			[]Invariant{Agreement, Agreement, Recovery}, nil}, // The counts and the rows differ.
		"another name": {two(sightOf("one", has, a), sightOf("two", has, a.but(func(r *row) { r.Name = "x" }))), []Invariant{Agreement}, nil},
		"another time": {two(sightOf("one", has, a), sightOf("two", has, a.but(func(r *row) { r.Created = "x" }))), []Invariant{Agreement}, nil},
		"another count than rows": {two(sightOf("one", has, a), sightOf("two", has, a).but(func(s *sight) { s.count = 2 })),
			[]Invariant{Agreement, Agreement}, nil},
		"the same wrong count": {two(sightOf("one", has, a).but(func(s *sight) { s.count = 2 }), sightOf("two", has, a).but(func(s *sight) { s.count = 2 })),
			[]Invariant{Agreement, Agreement}, nil},
		"not in the shared state": {two(sightOf("one", has, a), sightOf("two", has, a).but(func(s *sight) { s.allocations = nil })),
			[]Invariant{Agreement}, nil},
		"in the shared state, and not listed": {two(sightOf("one", lacks), sightOf("two", lacks).but(func(s *sight) { s.allocations["a"] = nil })),
			[]Invariant{Agreement}, nil},
		"pinned nowhere":       {none(a.at("pinned", "0/2")), []Invariant{Truth, Truth}, nil},
		"pinned at one":        {half(a.at("pinned", "1/2")), []Invariant{Recovery, Recovery}, nil},
		"pinned at one of two": {half(a.at("pinned", "1/2")), []Invariant{Truth, Truth}, func(u *universe) { u.enough = 2 }},
		"pinned and called else": {two(sightOf("one", has, a), sightOf("two", has, a.at("queued", "2/2"))),
			[]Invariant{Truth}, nil},
		"not pinned yet":             {none(a.at("queued", "0/2")), []Invariant{Recovery, Recovery}, nil},
		"of content that nobody has": {none(a.at("failed", "0/2")), nil, func(u *universe) { u.dead = pinned("a") }},
		"two rows of one":            {two(sightOf("one", has, a).but(func(s *sight) { s.twice = []string{"a twice"} }), sightOf("two", has, a)), []Invariant{Agreement}, nil},
		"in a node and in no list":   {half(), []Invariant{Strays}, nil},
		"in a node and of nobody":    {two(sightOf("one", pinned("a", "z"), a), sightOf("two", has, a)), []Invariant{Strays}, nil},
		"listed and of nobody":       {all(a), []Invariant{OwnRecord, OwnRecord}, func(u *universe) { u.written = nil }},
		"too few replicas":           {two(sightOf("one", has, a), sightOf("two", has, a.at("pinned", "1/2"))), []Invariant{Truth}, nil},
		"too many replicas":          {two(sightOf("one", has, a), sightOf("two", has, a.at("pinned", "3/3"))), []Invariant{Truth}, nil},
		"no replicas":                {two(sightOf("one", has, a), sightOf("two", has, a.at("pinned", ""))), []Invariant{Truth}, nil},
		"replicas of a peer that is gone": {two(sightOf("one", has, a.at("pinned", "2/3")), sightOf("two", has, a.at("pinned", "3/3"))),
			nil, func(u *universe) { u.unseen = 1 }},
		"too few replicas beside a peer that is gone": {two(sightOf("one", has, a.at("pinned", "1/3")), sightOf("two", has, a.at("pinned", "4/4"))),
			[]Invariant{Truth, Truth}, func(u *universe) { u.unseen = 1 }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u := universe{written: pinned("a"), copies: 2, enough: 1, now: comparedAt()}
			if tt.change != nil {
				tt.change(&u)
			}
			if found := compare(tt.all, u); !slices.Equal(invariantsOf(found), tt.want) {
				t.Errorf("got %q, want %q", found, tt.want)
			}
		})
	}
}

// With fewer copies than peers, the nodes that count are those that the shared state names.
func TestCompare_Allocations(t *testing.T) {
	a := rowA()
	// cluster is three peers of which some have a pin that is for some of them.
	cluster := func(r row, holders string, allocations ...string) (all []sight) {
		for i, name := range []string{"one", "two", "three"} {
			pins := pinned()
			if holders[i] == 'x' {
				pins = pinned("a")
			}
			all = append(all, sightOf(name, pins, r).but(func(s *sight) { s.allocations["a"] = allocations }))
		}
		return all
	}
	three := func(i Invariant) []Invariant { return []Invariant{i, i, i} }
	tests := map[string]struct {
		all  []sight
		want []Invariant
	}{
		"at its nodes":            {cluster(a, "xx-", "one", "two"), nil},
		"one of its nodes lacks":  {cluster(a.at("pinned", "1/2"), "x--", "one", "two"), three(Truth)},
		"another node has it":     {cluster(a, "x-x", "one", "two"), three(Truth)},
		"it has moved":            {cluster(a, "x-x", "one", "three"), nil},
		"a node has it still":     {cluster(a, "xxx", "one", "two"), []Invariant{Strays}},
		"not pinned yet":          {cluster(a.at("pinning", "1/2"), "x--", "one", "two"), three(Recovery)},
		"pinned and called else":  {cluster(a.at("pinning", "1/2"), "xx-", "one", "two"), three(Truth)},
		"replicas of another one": {cluster(a.at("pinned", "2/3"), "xx-", "one", "two"), three(Truth)},
		"for too few":             {cluster(a.at("pinned", "1/1"), "x--", "one"), []Invariant{Recovery, Truth, Recovery, Truth, Recovery, Truth}},
		"for other peers elsewhere": {[]sight{cluster(a, "xx-", "one", "two")[0], cluster(a, "xxx", "two", "three")[1], cluster(a, "xx-", "one", "two")[2]},
			[]Invariant{Agreement, Truth}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u := universe{written: pinned("a"), copies: 2, enough: 2, allocated: true, now: comparedAt()}
			if found := compare(tt.all, u); !slices.Equal(invariantsOf(found), tt.want) {
				t.Errorf("got %q, want %q", found, tt.want)
			}
		})
	}
}

// Pins for all peers have no allocations.
func TestCompare_AllocationsOfNobody(t *testing.T) {
	s := sightOf("one", pinned("a"), rowA().at("pinned", "1/1"))
	s.allocations["a"] = []string{"one"}
	if got := invariantsOf(compare([]sight{s}, universe{written: pinned("a"), copies: 1, enough: 1})); !slices.Equal(got, []Invariant{OwnRecord}) {
		t.Errorf("got %q", got)
	}
}

// A pin whose end has come is gone, in lists and in nodes.
func TestCompare_Expiring(t *testing.T) {
	until := func(d time.Duration) row {
		r := rowA().at("pinned", "1/1")
		r.Until = comparedAt().Add(d).Format(time.RFC3339)
		return r
	}
	without := rowA().at("pinned", "1/1")
	for name, tt := range map[string]struct {
		s        sight
		expiring bool
		want     []Invariant
	}{
		"gone":                          {sightOf("one", nil), true, nil},
		"gone and pinned":               {sightOf("one", pinned("a")), true, []Invariant{Strays}},
		"over and listed":               {sightOf("one", pinned("a"), until(-time.Minute)), true, []Invariant{Recovery}},
		"soon over":                     {sightOf("one", pinned("a"), until(5*time.Second)), true, []Invariant{Recovery}},
		"by a clock that was ahead":     {sightOf("one", pinned("a"), until(time.Hour)), true, nil},
		"of nobody's clock":             {sightOf("one", pinned("a"), until(2*time.Hour)), true, []Invariant{OwnRecord}},
		"without its end":               {sightOf("one", pinned("a"), without), true, []Invariant{OwnRecord}},
		"of another pin":                {sightOf("one", pinned("a"), until(time.Hour)), false, []Invariant{OwnRecord}},
		"by a clock that was, and lost": {sightOf("one", nil, until(time.Hour)), true, []Invariant{Truth}},
	} {
		u := universe{written: pinned("a"), copies: 1, enough: 1, now: comparedAt()}
		if tt.expiring {
			u.expiring = pinned("a")
		}
		if found := compare([]sight{tt.s}, u); !slices.Equal(invariantsOf(found), tt.want) {
			t.Errorf("%s: got %q, want %q", name, found, tt.want)
		}
	}
	one, two := sightOf("one", pinned("a"), until(time.Hour)), sightOf("two", pinned("a"), until(time.Hour-time.Second))
	u := universe{written: pinned("a"), expiring: pinned("a"), copies: 2, enough: 1, unseen: 1, now: comparedAt()}
	one.rows["a"], two.rows["a"] = one.rows["a"].at("pinned", "2/2"), two.rows["a"].at("pinned", "2/2")
	if got := invariantsOf(compare([]sight{one, two}, u)); !slices.Equal(got, []Invariant{Agreement}) {
		t.Errorf("another end: got %q", got)
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
		s := sightOf("one", pinned("a"))
		if tt.status != "" {
			s = sightOf("one", pinned("a"), row{CID: "c", Status: tt.status, Kept: keptIn(tt.kept)})
		}
		found := compare([]sight{s}, universe{written: pinned("c")})
		if got := slices.Contains(invariantsOf(found), Strays); got != tt.strays {
			t.Errorf("the new content is %q and keeps %q: got %v", tt.status, tt.kept, got)
		}
		s.allocations["a"] = nil // Its record stays as long.
		found = compare([]sight{s}, universe{written: pinned("c")})
		if got := slices.Contains(invariantsOf(found), Agreement); got != tt.strays {
			t.Errorf("the new content is %q and keeps %q, which is in the state: got %v", tt.status, tt.kept, found)
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
		if _, got := lags(tt.before, tt.peer, tt.after); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
