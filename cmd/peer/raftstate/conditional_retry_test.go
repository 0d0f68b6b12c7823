//go:build !race || nocheckptr

package raftstate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// U106: a leader that lost its office after it had compared, and got it back, proposed its write again,
// in the place of what another leader had accepted meanwhile.
func TestConsensus_AWriteThatWasComparedIsProposedOnce(t *testing.T) {
	t.Parallel()
	// The pause of upstream is long enough for several elections.
	all := members(t, 3, 0, func(cfg *raft.Config) { cfg.CommitRetryDelay = 15 * time.Second })
	for n := range 10 {
		was := leader(t, all)
		noError(t, again(func() error { return was.consensus.LogPin(t.Context(), version(n, "old")) }))
		was.cut(all)
		ended := make(chan error, 1)
		go func() {
			ended <- was.ours.propose(cidOf(n), ConditionalWrite{
				Nonce: "compared", Key: cidOf(n).Bytes(), Record: mustProto(t, version(n, "compared")),
			})
		}()
		next := leader(t, without(all, was))
		noError(t, again(func() error { return next.consensus.LogPin(t.Context(), version(n, "newer")) }))
		was.heal(all)
		await.Success(t, "the newer write", func() error { return was.named(n, "newer") })
		if cutOff := was.elected(all, ended); cutOff != nil {
			if err := <-ended; err == nil {
				t.Error("the write was committed")
			}
			cutOff.heal(all)
			for _, m := range all {
				await.Success(t, "the newer write", func() error { return m.named(n, "newer") })
			}
			return
		}
		t.Logf("try %d: others were elected", n)
	}
	t.Fatal("no leader that has lost its office got it back in time")
}

// elected cuts leaders off until the member is the leader, and returns the one that still is cut off. It returns
// nil when the member's write has ended before.
func (m *member) elected(all []*member, ended <-chan error) (cutOff *member) {
	lead := leader(m.t, all)
	for len(ended) == 0 {
		lead.cut(all)
		next := leader(m.t, without(all, lead))
		if next == m {
			return lead
		}
		lead.heal(all)
		lead = next
	}
	return nil
}

func without(all []*member, one *member) []*member {
	return slices.DeleteFunc(slices.Clone(all), func(m *member) bool { return m == one })
}

// named is nil when a member has a pin by that name.
func (m *member) named(n int, name string) error {
	rec, err := m.get(cidOf(n))
	if err == nil && rec.Name != name {
		err = fmt.Errorf("%q", rec.Name)
	}
	return err
}
