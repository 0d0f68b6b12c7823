//go:build !race || nocheckptr

package raftstate

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

type logWrite func(ctx context.Context, m *member, pin api.Pin) error

func logPin(ctx context.Context, m *member, pin api.Pin) error { return m.consensus.LogPin(ctx, pin) }

// overdue lets both followers begin a write that the leader does not take, and end it as end does. It
// returns what they wrote when both have returned.
func overdue(t *testing.T, all []*member, write logWrite, end func(lead *member, cancel func())) (lead *member, followers []*member, pins []api.Pin) {
	t.Helper()
	lead = leader(t, all)
	lead.frozen.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, len(all))
	for i, m := range all {
		if m == lead {
			continue
		}
		pin := api.PinCid(cidOf(i))
		pin.Name, pin.Timestamp = "overdue", time.Now()
		followers, pins = append(followers, m), append(pins, pin)
		go func() { ended <- write(ctx, m, pin) }()
	}
	await.Success(t, "the redirected writes", func() error {
		if n := lead.waiting.Load(); n != int32(len(followers)) {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	end(lead, cancel)
	for range followers {
		select {
		case err := <-ended:
			t.Logf("an overdue write: %v", err)
		case <-time.After(deadline):
			t.Fatal("a write goes on")
		}
	}
	return lead, followers, pins
}

// newer replaces overdue writes by others, each at the peer of the first one.
func newer(t *testing.T, followers []*member, pins []api.Pin) map[api.Cid]api.Pin {
	t.Helper()
	asked := make(map[api.Cid]api.Pin)
	for i, m := range followers {
		pin := pins[i]
		pin.Name, pin.Timestamp = "newer", time.Now()
		noError(t, again(func() error { return m.consensus.LogPin(t.Context(), pin) }))
		asked[pin.Cid] = pin
	}
	return asked
}

// steady fails when members do not have, or do not keep for that time, what was asked for.
func steady(t *testing.T, all []*member, asked map[api.Cid]api.Pin, kept time.Duration) {
	t.Helper()
	for _, m := range all {
		await.Success(t, "the newer writes", func() error { return m.expect(asked) })
	}
	until := time.Now().Add(kept)
	for time.Now().Before(until) {
		for _, m := range all {
			if err := m.expect(asked); err != nil {
				t.Fatalf("an overdue write took effect after a newer one: %v", err)
			}
		}
		time.Sleep(50 * time.Millisecond) // How often it is looked; the loop is as long as a late write may take.
	}
}

// U70: upstream goes on with a write that was given up. A peer that has become the leader meanwhile
// committed it after newer ones.
func TestConsensus_AnOverdueWriteIsNotCommittedAfterANewerOne(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	_, followers, pins := overdue(t, all, logPin, func(lead *member, _ func()) {
		noError(t, lead.consensus.Shutdown(context.Background())) // Its host goes on.
	})
	// Upstream pauses for twice the time after which a leader that is silent is none.
	steady(t, followers, newer(t, followers, pins), 5*time.Second)
}

// U71: a write that was under way to the leader when its peer gave it up took effect when it arrived,
// also by way of another leader.
func TestConsensus_ALateRedirectedWriteTakesNoEffect(t *testing.T) {
	t.Parallel()
	unpin := func(ctx context.Context, m *member, pin api.Pin) error { return m.consensus.LogUnpin(ctx, pin) }
	for _, c := range []struct {
		name  string
		write logWrite
		cut   bool
	}{{"a pin, at the next leader", logPin, true}, {"a removal, at the same leader", unpin, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := members(t, 3, 0, nil)
			lead, followers, pins := overdue(t, all, c.write, func(_ *member, cancel func()) { cancel() })
			if c.cut {
				lead.cut(all)
			}
			lead.frozen.Store(false)
			asked := newer(t, followers, pins)
			if c.cut {
				lead.heal(all)
			}
			for _, m := range all {
				await.Success(t, "the newer writes", func() error { return m.expect(asked) })
			}
			close(lead.thawed)
			steady(t, all, asked, 2*time.Second)
		})
	}
}

// U72: a write to a leader that does not respond, and is or becomes the leader again, went on for as long
// as the caller let it.
func TestConsensus_AWriteToALeaderThatStaysHasALimit(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	began := time.Now()
	lead, followers, pins := overdue(t, all, logPin, func(*member, func()) {})
	if took := time.Since(began); took > leaderLimit+10*time.Second {
		t.Errorf("the writes took %s", took)
	}
	lead.frozen.Store(false)
	asked := newer(t, followers, pins)
	close(lead.thawed)
	steady(t, all, asked, 2*time.Second)
}
