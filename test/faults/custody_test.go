package faults

import (
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

func TestCustody(t *testing.T) {
	const s = time.Second
	tests := map[string]struct {
		events func(c *custody) []string
		lost   string
	}{
		"on one node": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			return append(c.listed(0, 2*s, pinned()), c.listed(1, 2*s, pinned("a"))...)
		}, ""},
		"on no node": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			return append(c.listed(0, 2*s, pinned()), c.listed(1, 2*s, pinned("b"))...)
		}, "a"},
		"told once": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(0, 2*s, pinned())
			c.listed(1, 2*s, pinned())
			return c.listed(0, 3*s, pinned())
		}, ""},
		"one node was not asked since": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			return append(c.listed(0, 2*s, pinned()), c.listed(1, s/2, pinned())...)
		}, ""},
		"one node was never asked": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			return c.listed(0, 2*s, pinned())
		}, ""},
		"a node that is away had it": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(1, 2*s, pinned("a"))
			return c.listed(0, 60*s, pinned())
		}, ""},
		"the disk of that node is gone": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.listed(1, 2*s, pinned("a"))
			c.wiped(1, 3*s)
			return c.listed(0, 60*s, pinned())
		}, "a"},
		"deleted before": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.released("a")
			return append(c.listed(0, 2*s, pinned()), c.listed(1, 2*s, pinned())...)
		}, ""},
		"replaced, the old is there": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			return append(c.listed(0, 2*s, pinned("a")), c.listed(1, 2*s, pinned())...)
		}, ""},
		"replaced, the new is there": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			return append(c.listed(0, 2*s, pinned("b")), c.listed(1, 2*s, pinned())...)
		}, ""},
		"replaced, both are gone": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			return append(c.listed(0, 2*s, pinned()), c.listed(1, 2*s, pinned())...)
		}, "b"},
		"replaced and pinned, only the old is there": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.confirmed("b", 2*s)
			return append(c.listed(0, 3*s, pinned("a")), c.listed(1, 3*s, pinned())...)
		}, "b"},
		"a chain of replaces keeps the first": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.replaced("b", "c")
			return append(c.listed(0, 2*s, pinned("a")), c.listed(1, 2*s, pinned())...)
		}, ""},
		"a chain of replaces loses all": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.replaced("b", "c")
			return append(c.listed(0, 2*s, pinned("x")), c.listed(1, 2*s, pinned())...)
		}, "c"},
		"the replacement is deleted": {func(c *custody) []string {
			c.confirmed("a", 1*s)
			c.replaced("a", "b")
			c.released("b")
			return append(c.listed(0, 2*s, pinned()), c.listed(1, 2*s, pinned())...)
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
