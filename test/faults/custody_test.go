package faults

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func pinned(cids ...string) map[string]bool {
	pins := map[string]bool{}
	for _, cid := range cids {
		pins[cid] = true
	}
	return pins
}

// at is a listing of a node that answers at once.
func at(asked time.Duration, cids ...string) listing {
	return listing{asked: asked, answered: asked, pins: pinned(cids...)}
}

func TestCustody(t *testing.T) {
	const s = time.Second
	// twice enters two listings of each of two nodes, a second apart.
	twice := func(c *custody, from time.Duration, one, two []string) []string {
		return slices.Concat(c.listed(0, at(from, one...)), c.listed(1, at(from, two...)),
			c.listed(0, at(from+s, one...)), c.listed(1, at(from+s, two...)))
	}
	tests := map[string]struct {
		events func(c *custody) []string
		lost   string
	}{
		"on one node": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			return twice(c, 2*s, nil, []string{"a"})
		}, ""},
		"on no node": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			return twice(c, 2*s, nil, []string{"b"})
		}, "a"},
		"told once": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			twice(c, 2*s, nil, nil)
			return c.listed(0, at(4*s))
		}, ""},
		"one node was not asked since": {func(c *custody) []string {
			c.confirmed("a", 2*s)
			return slices.Concat(c.listed(1, at(s/2)), c.listed(1, at(s)), c.listed(0, at(3*s)), c.listed(0, at(4*s)))
		}, ""},
		"one node was never asked": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			return append(c.listed(0, at(2*s)), c.listed(0, at(3*s))...)
		}, ""},
		"a node that is away had it": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(1, at(2*s, "a"))
			return append(c.listed(0, at(60*s)), c.listed(0, at(61*s))...)
		}, ""},
		"a node that is back after a while lost it meanwhile": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(1, at(2*s, "a"))
			return slices.Concat(c.listed(0, at(60*s)), c.listed(0, at(61*s)), c.listed(1, at(70*s)), c.listed(0, at(70*s)),
				c.listed(1, at(72*s)), c.listed(0, at(72*s)))
		}, "a"},
		"it was not seen on a node between two others": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(0, at(2*s, "a"))
			c.listed(1, at(2*s))
			// It comes to the second node, and then leaves the first.
			return append(c.listed(0, at(3*s)), c.listed(1, at(3*s+1, "a"))...)
		}, ""},
		"the answer of one node took long": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(1, at(2*s))
			c.listed(1, at(3*s))
			return append(c.listed(0, listing{asked: 2 * s, answered: 5 * s}), c.listed(0, at(6*s))...)
		}, ""},
		"the disk of that node is gone": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(1, at(2*s, "a"))
			c.wiped(1, 3*s)
			return slices.Concat(c.listed(0, at(4*s)), c.listed(0, at(5*s)), c.listed(1, at(6*s)))
		}, "a"},
		"deleted before": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.released("a")
			return twice(c, 2*s, nil, nil)
		}, ""},
		"replaced, the old is there": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			return twice(c, 2*s, []string{"a"}, nil)
		}, ""},
		"replaced, the new is there": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			return twice(c, 2*s, []string{"b"}, nil)
		}, ""},
		"replaced, the new comes to one node and the old leaves the other": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(0, at(2*s))
			c.listed(1, at(2*s, "a"))
			c.replaced("a", "b")
			return slices.Concat(c.listed(1, at(4*s)), c.listed(0, at(4*s+1, "b")), c.listed(1, at(5*s)), c.listed(0, at(5*s, "b")))
		}, ""},
		"replaced, both are gone": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			return twice(c, 2*s, nil, nil)
		}, "b"},
		"replaced and pinned, only the old is there": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.confirmed("b", 2*s)
			return twice(c, 3*s, []string{"a"}, nil)
		}, "b"},
		"a chain of replaces keeps the first": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.replaced("b", "c")
			return twice(c, 2*s, []string{"a"}, nil)
		}, ""},
		"a chain of replaces loses all": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.replaced("b", "c")
			return twice(c, 2*s, []string{"x"}, nil)
		}, "c"},
		"added again after a replace that fails, and replaced by what is pinned": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "fails")
			c.replaced("a", "b")
			return twice(c, 2*s, []string{"b"}, nil)
		}, ""},
		"added again after a replace that fails, and replaced by what fails, too": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "fails")
			c.replaced("a", "b")
			return twice(c, 2*s, nil, nil)
		}, "fails"},
		"the replacement is deleted": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.released("b")
			return twice(c, 2*s, nil, nil)
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.events(newCustody(2))
			switch {
			case tt.lost == "" && len(got) > 0:
				t.Errorf("nothing is lost, got %q", got)
			case tt.lost != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.lost+" was reported")):
				t.Errorf("%s is lost, got %q", tt.lost, got)
			}
		})
	}
}
