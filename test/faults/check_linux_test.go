package faults

import (
	"slices"
	"testing"
	"time"
)

// Each key that is pinned after a round is held from then on, whoever has read that.
func TestLive(t *testing.T) {
	a := rowA()
	one := sightOf("one", pinned("a", "shared", "stays", "half"), a, a.but(func(r *row) { r.CID = "shared" }),
		a.but(func(r *row) { r.CID = "stays" }), a.but(func(r *row) { r.CID = "lost" }), a.but(func(r *row) { r.CID = "half" }),
		a.but(func(r *row) { r.CID, r.Status = "dead", "failed" }))
	two := sightOf("two", pinned("a", "shared", "stays", "half"), a, one.rows["shared"], one.rows["stays"], one.rows["lost"], one.rows["dead"])
	keys := []*key{
		{cid: "a"}, {cid: "shared", shared: true}, {cid: "stays", shared: true, stays: true}, {cid: "lost"}, {cid: "half"},
		{cid: "dead", dead: true}, {cid: "gone"},
	}
	held := live([]sight{one, two}, universe{enough: 2}, keys)
	if want := []string{"a", "stays"}; !slices.Equal(held, want) {
		t.Errorf("got %q, want %q", held, want)
	}
	// No client has read that it is pinned, and it is gone later.
	c := newCustody(1)
	for _, cid := range held {
		c.confirmed(cid, time.Second)
	}
	c.listed(0, at(2*time.Second, "stays"))
	if lost := c.listed(0, at(3*time.Second, "stays")); len(lost) != 1 {
		t.Errorf("lost: %q", lost)
	}
}
