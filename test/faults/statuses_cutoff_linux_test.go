package faults

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// trueWithin is how long statuses may be wrong after the end of what made them so, and requestTime how
// long a request may take until then (docs/promises.md).
const trueWithin, requestTime = 30 * time.Second, 10 * time.Second

// twoCopies is a cluster whose pins are each kept by two of three peers, so that one that is missed matters.
type twoCopies struct {
	*cluster
	t    *testing.T
	who  Credentials
	next int // pin
	// checks run at all peers at once.
	checks sync.WaitGroup
}

// newTwoCopies waits until a pin is accepted.
func newTwoCopies(t *testing.T) *twoCopies {
	c := &twoCopies{t: t, who: Credentials{"alice", "the password of alice"}}
	c.cluster = newReplicated(t, c.who, 2)
	if err := eventually(t.Context(), readyTimeout, func() error { return c.post(0, 0) }); err != nil {
		t.Fatal(err)
	}
	c.trueAgain(time.Now(), trueWithin)
	return c
}

func numbered(i int) string {
	hash, err := multihash.Sum(fmt.Appendf(nil, "pin %d", i), multihash.IDENTITY, -1)
	if err != nil {
		panic(err) // Identity hashes are there.
	}
	return cid.NewCidV1(cid.Raw, hash).String()
}

// post adds a pin at a peer.
func (c *twoCopies) post(at, i int) error {
	a := c.ask(at, http.MethodPost, "/pins", object{"cid": numbered(i)})
	if a.err == nil && a.code != http.StatusAccepted {
		a.err = fmt.Errorf("%d %s", a.code, a.body)
	}
	return a.err
}

// ask wants an answer in time; a refusal names when to come again.
func (c *twoCopies) ask(at int, method, path string, body any) answer {
	a := ask(c.t.Context(), c.nodes[at], c.who, time.Now(), method, path, body)
	if a.err != nil || a.took > requestTime || a.code > 299 && (a.code != http.StatusServiceUnavailable || a.retryAfter == "") {
		c.t.Errorf("%s: %s %s: %v %d %s, Retry-After %q, after %s", c.nodes[at].name, method, path, a.err, a.code, a.body, a.retryAfter, a.took)
	}
	return a
}

// meanwhile adds pins at all peers for as long as a cause needs to be noticed, and reads what is known.
func (c *twoCopies) meanwhile(during time.Duration) (refused int) {
	ctx, cancel := context.WithTimeout(c.t.Context(), during)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		for at := range c.nodes {
			c.next++
			if a := c.ask(at, http.MethodPost, "/pins", object{"cid": numbered(c.next)}); a.code != http.StatusAccepted {
				refused++
			}
			for _, path := range []string{"/pins/" + numbered(0), "/pins?" + allStatuses} {
				if a := c.ask(at, http.MethodGet, path, nil); a.code != http.StatusOK {
					c.t.Errorf("%s: GET %s: %d %s", c.nodes[at].name, path, a.code, a.body)
				}
			}
		}
	}
	return refused
}

// trueAgain wants all rows of all peers to be true in time, and a pin to be accepted at each.
func (c *twoCopies) trueAgain(ended time.Time, within time.Duration) {
	c.t.Helper()
	for what, check := range map[string]func(at int) error{
		"statuses": func(at int) error { return c.rows(at, func(row pin) bool { return row.Status == "pinned" }) },
		"replicas": func(at int) error { return c.rows(at, func(row pin) bool { return row.Info["replicas"] == "2/2" }) },
		"writes":   func(at int) error { return c.post(at, 0) },
	} {
		for at, n := range c.nodes {
			c.checks.Go(func() {
				err := eventually(c.t.Context(), 4*time.Minute, func() error { return check(at) })
				took := time.Since(ended)
				c.t.Logf("%s: the %s are right %s after the end of the cause", n.name, what, took.Round(time.Second))
				if err != nil || took > within {
					c.t.Errorf("%s: the %s were wrong for %s: %v", n.name, what, took, err)
				}
			})
		}
	}
	c.checks.Wait()
}

// rows is nil when a peer lists some, and all are right.
func (c *twoCopies) rows(at int, right func(pin) bool) error {
	rows, err := listAll(c.t.Context(), c.nodes[at], c.who)
	if err != nil {
		return err
	}
	wrong := 0
	for _, row := range rows {
		if !right(row) {
			wrong++
		}
	}
	if wrong > 0 || len(rows) == 0 {
		return fmt.Errorf("%d of %d pins", wrong, len(rows))
	}
	return nil
}

// A peer is cut off from both others, and later two clocks are wrong. Requests end in time meanwhile, what is
// known is read at all peers, and soon afterwards all statuses are true and changes are accepted.
func TestFaults_StatusesAreTrueSoonAfterACutOffPeerAndWrongClocks(t *testing.T) {
	c := newTwoCopies(t)
	// Signs of life, sent each 15 seconds, expire after twice that.
	const noticed = 50 * time.Second
	t.Run("a peer that is cut off", func(t *testing.T) {
		c.t = t
		links := [][2]int{{2, 0}, {0, 2}, {2, 1}, {1, 2}}
		for _, l := range links {
			c.network.cut(l[0], l[1])
		}
		if refused := c.meanwhile(noticed); refused == 0 {
			t.Error("nothing was refused: the peer was not cut off from the others")
		}
		for _, l := range links {
			c.network.restore(l[0], l[1])
		}
		c.trueAgain(time.Now(), trueWithin)
	})
	t.Run("clocks that are wrong", func(t *testing.T) {
		c.t = t
		if c.nodes[1].proc.clock == nil {
			t.Log("clocks cannot be set on this system")
			return
		}
		set := func(one, other time.Duration) {
			for at, offset := range map[int]time.Duration{1: one, 2: other} {
				if err := c.nodes[at].setClock(offset); err != nil {
					t.Fatal(err)
				}
			}
		}
		set(-hour, hour)
		if refused := c.meanwhile(noticed); refused == 0 {
			t.Error("nothing was refused: no clock was noticed")
		}
		set(0, 0)
		c.trueAgain(time.Now(), trueWithin)
	})
}
