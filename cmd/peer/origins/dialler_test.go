package origins

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Unreachable nodes are dialled again with growing delays that do not exceed
// the longest one.
func TestDialler_RetriesWithBackoff(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.set(w.swarm.refused, nodeID(1))
		end := w.pin(record(1, publicOrigin(t, 1)))
		w.after(5 * time.Minute)
		times := w.swarm.of(nodeID(1))
		limits := defaultLimits()
		for i := 1; i < len(times); i++ {
			delay, longest := times[i].Sub(times[i-1]), limits.retry.Delay(i)
			if delay > longest || delay < longest*7/10 {
				t.Errorf("delay %d is %s, want at most %s", i, delay, longest)
			}
		}
		if len(times) < 10 {
			t.Errorf("%d dials in 5 minutes", len(times))
		}
		if got := w.Stats(); got.Dials != uint64(len(times)) || got.Failures != got.Dials || got.Nodes != 1 || got.Pins != 1 {
			t.Errorf("%d dials, counted as %+v", len(times), got)
		}
		end()
	})
}

// A connection that is lost while the pin waits is opened again.
func TestDialler_ChecksConnectedNodes(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.set(w.swarm.reachable, nodeID(1))
		end := w.pin(record(1, publicOrigin(t, 1)))
		w.after(time.Minute)
		times := w.swarm.of(nodeID(1))
		if len(times) < 6 || len(times) > 9 {
			t.Errorf("%d dials in a minute", len(times))
		}
		if got := w.Stats(); got.Failures != 0 {
			t.Errorf("%d failures", got.Failures)
		}
		end()
	})
}

// A node that comes back is found although it was unreachable for long.
func TestDialler_FindsNodeThatComesBack(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.set(w.swarm.refused, nodeID(1))
		end := w.pin(record(1, publicOrigin(t, 1)))
		w.after(10 * time.Minute)
		w.swarm.set(w.swarm.reachable, nodeID(1))
		before, failures := w.swarm.count(), w.Stats().Failures
		w.after(defaultLimits().retry.Max)
		if w.swarm.count() == before || w.Stats().Failures != failures {
			t.Errorf("%d dials, %d failures", w.swarm.count()-before, w.Stats().Failures-failures)
		}
		end()
	})
}

// Pins with the same origin share its dials, and another such pin neither
// waits for the back-off nor dials without a pause.
func TestDialler_PinsShareNodes(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.set(w.swarm.refused, nodeID(1))
		var ends []func()
		for n := range 10 {
			ends = append(ends, w.pin(record(n, publicOrigin(t, 1))))
		}
		w.after(500 * time.Millisecond)
		if got := w.swarm.count(); got != 1 {
			t.Errorf("%d dials for 10 pins", got)
		}
		w.after(5 * time.Minute)
		before := w.swarm.count()
		ends = append(ends, w.pin(record(10, publicOrigin(t, 1))))
		w.after(1200 * time.Millisecond)
		if got := w.swarm.count() - before; got != 1 {
			t.Errorf("%d dials for a pin that came later", got)
		}
		for _, end := range ends[1:] {
			end()
		}
		before = w.swarm.count()
		w.after(2 * time.Minute)
		if got := w.swarm.count() - before; got < 3 {
			t.Errorf("%d dials for the pin that is left", got)
		}
		ends[0]()
	})
}

// A short-lived pin in a stream of pins with the same origin does not make a
// dial of its own.
func TestDialler_StreamOfPins(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.set(w.swarm.reachable, nodeID(1))
		end := w.pin(record(1, publicOrigin(t, 1)))
		w.ipfs.takes = 5 * time.Millisecond
		for n := range 2000 { // Ten seconds.
			if err := w.Pin(w.t.Context(), record(n, publicOrigin(t, 1))); err != nil {
				t.Error(err)
			}
		}
		if got := w.swarm.count(); got > 12 {
			t.Errorf("%d dials in ten seconds", got)
		}
		end()
	})
}

// New addresses of a node are dialled at once, also during a dial and during
// the wait for the next.
func TestDialler_NewAddresses(t *testing.T) {
	for name, at := range map[string]time.Duration{"during a dial": time.Second, "during a wait": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				if name == "during a wait" {
					w.swarm.set(w.swarm.refused, nodeID(1))
				}
				end := w.pin(record(1, origin(t, "/ip4/127.0.0.1/tcp/1", 1)))
				w.after(at)
				w.Update(record(1, origin(t, "/ip4/8.8.8.8/tcp/2", 1)))
				synctest.Wait()
				if name == "during a dial" { // Which hangs until its time-out.
					w.after(defaultLimits().grace + defaultLimits().timeout - at)
				}
				to := w.swarm.last()
				want := []string{"/ip4/8.8.8.8/tcp/2", "/ip4/127.0.0.1/tcp/1"}
				var got []string
				for _, addr := range to.Addrs {
					got = append(got, addr.String())
				}
				if !slices.Equal(got, want) {
					t.Errorf("dialled %v, want %v", got, want)
				}
				if times := w.swarm.of(nodeID(1)); time.Since(times[len(times)-1]) > 0 {
					t.Errorf("dialled %s ago", time.Since(times[len(times)-1]))
				}
				end()
			})
		})
	}
}

// Whatever the number of pins and origins, the dials in progress are bounded,
// and every origin is dialled in the end. First dials go first.
func TestDialler_Bounds(t *testing.T) {
	inBubble(t, func(w *world) {
		limits := defaultLimits()
		const pins = 20
		var ends []func()
		for n := range pins {
			ends = append(ends, w.pin(record(n, publicOrigins(t, n*100+1, n*100+limits.nodes)...)))
		}
		w.after(limits.grace)
		if _, most := w.swarm.inProgress(); most > limits.dials {
			t.Errorf("%d dials at once", most)
		}
		all := pins * limits.nodes
		batches := all / limits.dials
		w.after(time.Duration(batches) * limits.timeout)
		if _, most := w.swarm.inProgress(); most != limits.dials {
			t.Errorf("%d dials at once, want %d", most, limits.dials)
		}
		if got := w.swarm.nodes(all); got != all {
			t.Errorf("the first %d dials were to %d nodes", all, got)
		}
		for _, end := range ends {
			end()
		}
	})
}

// One pin with many origins leaves room for others.
func TestDialler_BoundPerPin(t *testing.T) {
	inBubble(t, func(w *world) {
		limits := defaultLimits()
		end := w.pin(record(1, publicOrigins(t, 1, limits.nodes)...))
		w.after(limits.grace)
		if _, most := w.swarm.inProgress(); most != limits.dialsPerPin {
			t.Errorf("%d dials at once, want %d", most, limits.dialsPerPin)
		}
		endOther := w.pin(record(2, publicOrigin(t, 1000)))
		w.after(limits.grace)
		if got := w.swarm.of(nodeID(1000)); len(got) != 1 {
			t.Error("the origin of another pin has to wait")
		}
		endOther()
		end()
	})
}
