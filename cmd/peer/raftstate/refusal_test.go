//go:build !race || nocheckptr

package raftstate

import (
	"errors"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
)

// U107: what another peer hands to a leader without space is refused, with a condition or without one, once, and has
// no effect. Writes with a condition were proposed.
func TestConsensus_ALeaderWithoutSpaceRefusesWhatOthersHandToIt(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	lead := leader(t, all)
	other := without(all, lead)[0]
	for n := range 4 {
		noError(t, again(func() error { return other.ours.LogPin(t.Context(), version(n, "old")) }))
	}
	on := func(n int) func(*member) error {
		old := clustertest.ConditionOn(version(n, "old"))
		return map[int]func(*member) error{
			0: func(m *member) error { return m.ours.LogPin(t.Context(), version(0, "new")) },
			1: func(m *member) error { return m.ours.LogUnpin(t.Context(), version(1, "")) },
			2: func(m *member) error { return m.ours.pinIf(t.Context(), version(2, "new"), old) },
			3: func(m *member) error { return m.ours.unpinIf(t.Context(), cidOf(3), old) },
		}[n]
	}
	lead.logFull.Store(true)
	for n := range 4 {
		before := lead.handed.Load()
		err := on(n)(other)
		if err == nil || !strings.Contains(err.Error(), errLeaderLogFull.Error()) || !strings.Contains(err.Error(), errNoSpace.Error()) ||
			!strings.Contains(err.Error(), lead.id.String()) {
			t.Errorf("write %d at a follower: %v", n, err)
		}
		if tries := lead.handed.Load() - before; tries > 1 {
			t.Errorf("write %d was handed to the leader %d times", n, tries)
		}
		if err := on(n)(lead); !errors.Is(err, errLogFull) || !errors.Is(err, errNoSpace) {
			t.Errorf("write %d at the leader: %v", n, err)
		}
		noError(t, lead.named(n, "old"))
	}
	noError(t, other.ours.barrier(t.Context())) // A follower that starts gets ready.
	if l := leader(t, all); l != lead {
		t.Errorf("%s is the leader, %s was", l.id, lead.id)
	}
	lead.logFull.Store(false)
	for n := range 4 {
		noError(t, again(func() error { return on(n)(other) }))
	}
	for _, n := range []int{0, 2} {
		await.Success(t, "the write", func() error { return lead.named(n, "new") })
	}
}

// A peer without space begins nothing, though its leader has space.
func TestConsensus_AFollowerWithoutSpaceBeginsNothing(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	other := without(all, leader(t, all))[0]
	noError(t, again(func() error { return other.ours.LogPin(t.Context(), version(1, "old")) }))
	other.logFull.Store(true)
	for what, err := range map[string]error{
		"a pin":                      other.ours.LogPin(t.Context(), version(2, "new")),
		"a removal":                  other.ours.LogUnpin(t.Context(), version(1, "")),
		"a removal with a condition": other.ours.unpinIf(t.Context(), cidOf(1), clustertest.ConditionOn(version(1, "old"))),
	} {
		if !errors.Is(err, errLogFull) {
			t.Errorf("%s: %v", what, err)
		}
	}
	noError(t, other.named(1, "old"))
}
