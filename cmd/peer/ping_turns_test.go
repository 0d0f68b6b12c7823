package peer

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// pingsOf pings n times as upstream's sendPingMetric does, around a last ping that has no lock.
func pingsOf(who pinger, turns *pingTurns, last *int, n int) {
	ctx := who.as(context.Background())
	for range n {
		turns.begin(ctx)
		*last++
		turns.end(ctx)
	}
}

func TestPingTurns_OneAtATime(t *testing.T) {
	turns, last := newPingTurns(), 0
	var both sync.WaitGroup
	for _, who := range []pinger{regularPinger, joiningPinger} {
		both.Go(func() { pingsOf(who, turns, &last, 500) })
	}
	both.Wait()
	if last != 1000 {
		t.Errorf("%d of 1000 pings were counted", last)
	}
}

// Who only asks for the ID neither waits nor ends a turn, and a turn that does not end is waited for no longer than
// the limit. The one who went on without it does not end it.
func TestPingTurns_OfOthers(t *testing.T) {
	turns := newPingTurns()
	regular, joining := regularPinger.as(t.Context()), joiningPinger.as(t.Context())
	turns.begin(regular)
	turns.begin(regular)
	turns.begin(t.Context())
	turns.end(t.Context())
	turns.end(joining)
	if turns.holder() != regularPinger {
		t.Fatalf("the turn is of %q", turns.holder())
	}
	ctx, cancel := context.WithCancel(joining)
	cancel()
	turns.begin(ctx)
	turns.end(ctx)
	if turns.holder() != regularPinger {
		t.Fatalf("the turn is of %q, after one that went on without it", turns.holder())
	}
	turns.end(regular)
	turns.begin(joining)
	if turns.holder() != joiningPinger {
		t.Errorf("the turn is of %q", turns.holder())
	}
}

// A peer that joins while it pings: upstream's cluster does both without a lock, which the race detector sees (U120).
func TestPeer_JoinsWhileItPings(t *testing.T) {
	node := externalNode(t, rpcOfID(t, firstID))
	edits := []edit{noAPIs, node, func(sections map[string]map[string]any) {
		sections["cluster"]["secret"] = strings.Repeat("23", 32)
		sections["cluster"]["monitor_ping_interval"] = time.Millisecond.String()
	}}
	first, _ := newPeer(t, upstreamFiles(t, "crdt", "pebble", edits...))
	noError(t, first.Start(t.Context()))
	await.Closed(t, "readiness of the first peer", first.Ready())
	second, _ := newPeer(t, upstreamFiles(t, "crdt", "pebble", edits...))
	noError(t, second.Start(t.Context()))
	await.Closed(t, "readiness of the second peer", second.Ready())
	options := Options{}
	bootstrapTo(first)(&options)
	for range 20 {
		second.join(options.Bootstraps)
	}
}
