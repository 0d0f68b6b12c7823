package origins

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"
)

func publicOrigins(t testing.TB, from, to int) []multiaddr.Multiaddr {
	var origins []multiaddr.Multiaddr
	for n := from; n <= to; n++ {
		origins = append(origins, publicOrigin(t, n))
	}
	return origins
}

// The last of many origins is dialled as soon as the first, and the inner
// connector dials none.
func TestConnector_DialsAllOriginsAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		end := w.pin(record(1, publicOrigins(t, 1, 13)...))
		w.after(time.Second)
		for n := 1; n <= 13; n++ {
			if got := w.swarm.of(nodeID(n)); len(got) != 1 {
				t.Errorf("origin %d was dialled %d times in the first second", n, len(got))
			}
		}
		if got := w.ipfs.pinned[0].Origins; len(got) != 0 {
			t.Errorf("the inner connector got the origins %v", got)
		}
		end()
	})
}

// Whatever the order of the origins, each is dialled before any is dialled
// again; of too many, the private ones are dropped first.
func TestConnector_OrderOfOriginsDoesNotMatter(t *testing.T) {
	const privates, publics = 30, 50
	var all []multiaddr.Multiaddr
	for n := range privates {
		all = append(all, origin(t, "/ip4/192.168.1.1/tcp/4001", n))
	}
	all = append(all, publicOrigins(t, privates, privates+publics-1)...)
	limits := defaultLimits()
	rapid.Check(t, func(r *rapid.T) {
		given := rapid.Permutation(all).Draw(r, "origins")[:rapid.IntRange(1, len(all)).Draw(r, "number")]
		var first int
		dropped := make(map[class]int)
		inBubble(t, func(w *world) {
			end := w.pin(record(1, given...))
			kept := min(len(given), limits.nodes)
			batches := (kept + limits.dialsPerPin - 1) / limits.dialsPerPin
			w.after(limits.grace + time.Duration(batches)*limits.timeout - time.Second)
			first = w.swarm.nodes(kept)
			for _, c := range candidates(given, len(given), 1) {
				if len(w.swarm.of(c.id)) == 0 {
					dropped[c.class]++
				}
			}
			end()
		})
		if want := min(len(given), limits.nodes); first != want {
			r.Errorf("the first %d dials of %d origins were to %d nodes", want, len(given), first)
		}
		if dropped[public] != 0 || dropped[private] != max(0, len(given)-limits.nodes) {
			r.Errorf("of %d origins %d public and %d private ones were not dialled", len(given), dropped[public], dropped[private])
		}
	})
}

// A pin whose content is there ends before any dial.
func TestConnector_NoDialForContentThatIsThere(t *testing.T) {
	inBubble(t, func(w *world) {
		w.ipfs.takes = 10 * time.Millisecond
		if err := w.Pin(w.t.Context(), record(1, publicOrigin(t, 1))); err != nil {
			t.Error(err)
		}
		w.after(time.Minute)
		if got := w.swarm.count(); got != 0 {
			t.Errorf("%d dials", got)
		}
	})
}

// Dialling ends with the pin: at a success, a failure and a cancellation.
func TestConnector_DialsEndWithThePin(t *testing.T) {
	failed := errors.New("no content")
	for name, test := range map[string]struct {
		err    error
		cancel bool
	}{"success": {}, "failure": {err: failed}, "cancellation": {cancel: true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.ipfs.takes, w.ipfs.err = 20*time.Second, test.err
				w.swarm.set(w.swarm.refused, nodeID(1))
				ctx, cancel := context.WithCancel(w.t.Context())
				defer cancel()
				if test.cancel {
					time.AfterFunc(19*time.Second, cancel)
				}
				err := w.Pin(ctx, record(1, publicOrigin(t, 1), publicOrigin(t, 2)))
				if !test.cancel && !errors.Is(err, test.err) || test.cancel && !errors.Is(err, context.Canceled) {
					t.Errorf("the error is %v", err)
				}
				synctest.Wait()
				before, stats := w.swarm.count(), w.Stats()
				if now, _ := w.swarm.inProgress(); before < 4 || now != 0 {
					t.Errorf("%d dials, %d of them still in progress", before, now)
				}
				if stats.Dialling != 0 || stats.Nodes != 0 || stats.Pins != 0 {
					t.Errorf("left over: %+v", stats)
				}
				w.after(time.Hour)
				if after := w.swarm.count(); after != before {
					t.Errorf("%d dials after the end", after-before)
				}
			})
		})
	}
}

func TestConnector_UpdateDialsNewOriginAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		end := w.pin(record(1))
		w.after(3 * time.Second)
		w.Update(record(1, publicOrigin(t, 1)))
		synctest.Wait()
		if got := w.swarm.of(nodeID(1)); len(got) != 1 || got[0] != w.start.Add(3*time.Second) {
			t.Errorf("the new origin was dialled at %v", got)
		}
		end()
	})
}

// A new record does not take origins away: any may have the content.
func TestConnector_UpdateKeepsEarlierOrigins(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.set(w.swarm.refused, nodeID(1))
		end := w.pin(record(1, publicOrigin(t, 1)))
		w.after(time.Second)
		w.Update(record(1, publicOrigin(t, 2)))
		w.Update(record(1))
		before := len(w.swarm.of(nodeID(1)))
		w.after(time.Minute)
		if len(w.swarm.of(nodeID(1))) <= before {
			t.Error("the first origin is not dialled any more")
		}
		end()
	})
}

// A pin that is updated often keeps its newest origins, and of the others the
// most connectable.
func TestConnector_UpdateWithinTheLimit(t *testing.T) {
	inBubble(t, func(w *world) {
		nodes := defaultLimits().nodes
		worst := origin(t, "/ip4/10.0.0.2/tcp/4001", 999)
		end := w.pin(record(1, append(publicOrigins(t, 1, nodes-1), worst)...))
		w.after(time.Second)
		newest := origin(t, "/ip4/10.0.0.1/tcp/4001", 1000)
		w.Update(record(1, newest))
		before := len(w.swarm.of(nodeID(999)))
		w.after(2 * time.Minute)
		if got := w.swarm.of(nodeID(999)); len(got) != before {
			t.Error("the least connectable origin is still dialled")
		}
		if got := w.swarm.of(nodeID(1000)); len(got) == 0 {
			t.Error("the newest origin was not dialled")
		}
		if got := w.Stats().Nodes; got != nodes {
			t.Errorf("%d nodes, the limit is %d", got, nodes)
		}
		end()
	})
}

// A record that comes between the tracker's decision to pin and the call of
// Pin counts too.
func TestConnector_UpdateJustBeforePin(t *testing.T) {
	inBubble(t, func(w *world) {
		w.Update(record(1, publicOrigin(t, 1)))
		end := w.pin(record(1))
		w.after(time.Second)
		if got := w.swarm.of(nodeID(1)); len(got) != 1 {
			t.Errorf("the origin of the later record was dialled %d times", len(got))
		}
		end()
		end = w.pin(record(1))
		w.after(time.Minute)
		if got := w.swarm.of(nodeID(1)); len(got) != 1 {
			t.Error("an update counts for one pin only")
		}
		end()
	})
}

// An update of a pin that is not in progress dials nobody.
func TestConnector_UpdateOfAnotherPin(t *testing.T) {
	inBubble(t, func(w *world) {
		end := w.pin(record(1))
		w.Update(record(2, publicOrigin(t, 1)))
		w.after(time.Minute)
		if got := w.swarm.count(); got != 0 {
			t.Errorf("%d dials", got)
		}
		end()
	})
}

// Shutdown ends dials in progress although pins are.
func TestConnector_Shutdown(t *testing.T) {
	inBubble(t, func(w *world) {
		end := w.pin(record(1, publicOrigins(t, 1, 20)...))
		w.after(time.Second)
		if err := w.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if now, _ := w.swarm.inProgress(); now != 0 || !w.swarm.closed || !w.ipfs.down {
			t.Errorf("%d dials in progress, swarm closed: %t, inner connector shut down: %t", now, w.swarm.closed, w.ipfs.down)
		}
		before := w.swarm.count()
		w.Update(record(1, publicOrigin(t, 30)))
		later := w.pin(record(2, publicOrigin(t, 31)))
		w.after(time.Minute)
		if got := w.swarm.count(); got != before {
			t.Errorf("%d dials after the shutdown", got-before)
		}
		later()
		end()
	})
}

func TestRecentOrigins(t *testing.T) {
	var r recentOrigins
	for n := range recentUpdates + 10 {
		r.put(record(n).Cid.Cid, publicOrigins(t, n, n))
	}
	r.put(record(20).Cid.Cid, publicOrigins(t, 99, 99))
	if len(r.origins) != recentUpdates || len(r.order) != recentUpdates {
		t.Errorf("keeps %d and %d, want %d", len(r.origins), len(r.order), recentUpdates)
	}
	if got := r.take(record(9).Cid.Cid); got != nil {
		t.Errorf("the oldest is kept: %v", got)
	}
	if got := r.take(record(20).Cid.Cid); len(got) != 1 || !got[0].Equal(publicOrigin(t, 99)) {
		t.Errorf("want the last origins, got %v", got)
	}
	if got := r.take(record(20).Cid.Cid); got != nil || len(r.order) != recentUpdates-1 {
		t.Errorf("taken twice: %v; %d are left", got, len(r.order))
	}
}
