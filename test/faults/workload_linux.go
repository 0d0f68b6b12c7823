package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// key is a CID that a client uses.
type key struct {
	// cid is the canonical one; form is how it is written in requests, when that
	// is another.
	cid, form string
	// dead content is provided by nobody.
	dead bool
	// shared keys are used by every client at every peer; stays says that none deletes it.
	shared, stays bool
	// home is the peer that the writes go to. It changes when the client has
	// seen the last write at another peer: then its writes there follow it.
	home int
	// moved is the move to a home that has not accepted a write since; nil: it has, or was the first.
	moved *move
	// value is what the last write left; unsettled says that it is not known
	// whether one took effect.
	value     Value
	unsettled bool
}

// move is how a key got its home. The start of the peer showed the last write, which it may have from
// another peer: its own state has it a moment later, and the next start of the peer may never have heard of it.
type move struct {
	from       int
	generation int
}

// keepHomes takes moves back to homes that were started again since.
func (c *client) keepHomes() {
	for _, k := range c.keys {
		if k.moved != nil && c.nodes[k.home].generation() != k.moved.generation {
			k.home, k.moved = k.moved.from, nil
		}
	}
}

// text is the CID for a request.
func (k *key) text() string {
	if k.form != "" {
		return k.form
	}
	return k.cid
}

// workload is the clients and what they share.
type workload struct {
	opts     Workload
	nodes    []*node
	start    time.Time
	origin   string
	history  *History
	custody  *custody
	problems *problems
	clients  []*client
	shared   []*key
	// expiring are CIDs that are pinned with an end by the cluster's REST API.
	expiring map[string]bool

	mu       sync.Mutex
	registry *registry
	count    counts
}

// counts are for the summary.
type counts struct{ acknowledged, failed, unanswered, refused, reads, confirmed atomic.Int64 }

// client is one user with keys of its own.
type client struct {
	*workload
	name string
	who  Credentials
	rng  *rand.Rand
	keys []*key
	// expiring is its CID of workload.expiring.
	expiring string
	writes   int
	// retryAfter is what the last answer asked for: see maxRetryAfter.
	retryAfter time.Duration
}

// run sends requests, one after the other, until the time.
func (c *client) run(ctx context.Context, until time.Time, pause time.Duration) {
	for ctx.Err() == nil && time.Now().Before(until) {
		c.step(ctx)
		time.Sleep(time.Duration(c.rng.Int64N(int64(2*pause)+1)) + c.retryAfter)
		c.retryAfter = 0
	}
}

func (c *client) step(ctx context.Context) {
	if c.rng.IntN(10) == 0 {
		c.useShared(ctx)
		return
	}
	if c.rng.IntN(100) == 0 {
		c.expire(ctx)
		return
	}
	c.keepHomes()
	k := c.keys[c.rng.IntN(len(c.keys))]
	switch n := c.rng.IntN(100); {
	case n < 25:
		c.add(ctx, k)
	case n < 35:
		c.rename(ctx, k)
	case n < 45:
		c.remove(ctx, k)
	case n < 55:
		c.replace(ctx, k)
	case n < 70:
		c.get(ctx, k, k.home)
	case n < 78:
		c.get(ctx, k, c.anyPeer())
	case n < 86:
		c.list(ctx)
	case n < 93:
		c.move(ctx, k)
	default:
		c.poll(ctx, k)
	}
}

// useShared writes or reads a CID of all clients at any peer, as CIDv0 or CIDv1.
// Half of them are never deleted.
func (c *client) useShared(ctx context.Context) {
	all := c.shared[c.rng.IntN(len(c.shared))]
	k := &key{cid: all.cid, shared: true, stays: all.stays, home: c.anyPeer()}
	if c.rng.IntN(2) == 0 {
		k.form = all.form
	}
	switch n := c.rng.IntN(10); {
	case n < 4:
		c.add(ctx, k)
	case n < 6 && !k.stays:
		c.remove(ctx, k)
	default:
		c.get(ctx, k, k.home)
	}
}

// expireIn is so short that the pins are soon gone after a round.
const expireIn = 5 * time.Second

// expire pins a CID for a short time by the REST API of any peer. No other pin gets its end, and after a
// round it is gone.
func (c *client) expire(ctx context.Context) {
	c.writes++
	name := fmt.Sprintf("%s-%d", c.name, c.writes)
	c.mu.Lock()
	c.registry.enter(c.expiring, Value(name), Record{Name: name})
	c.mu.Unlock()
	k := &key{cid: c.expiring, home: c.anyPeer()}
	a := askPort(ctx, c.nodes[k.home], restPort, c.who, c.start, http.MethodPost, "/pins/"+c.expiring+"?expire-in="+expireIn.String()+"&name="+name, nil)
	a.method = http.MethodPost
	op := c.op(k, k.home, Expire, Value(name), a) // It may fail.
	op.Request, op.Outcome = c.history.request(), a.outcome()
	c.history.add(op)
}

// compose makes the record of the next write, and enters it.
func (c *client) compose(k *key) (Value, Record) {
	c.writes++
	var origins []string
	if c.rng.IntN(3) > 0 {
		origins = []string{c.origin}
	}
	s := shape(c.rng.IntN(int(shapes)))
	v, r := s.record(Value(fmt.Sprintf("%s-%d", c.name, c.writes)), origins)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registry.enter(k.cid, v, r)
	return v, r
}

func (c *client) add(ctx context.Context, k *key) {
	v, r := c.compose(k)
	a := c.ask(ctx, k.home, http.MethodPost, "/pins", wirePin{CID: k.text(), Name: r.Name, Meta: r.Meta, Origins: r.Origins})
	c.wrote(k, Write, v, a, c.history.request())
	c.checkAccepted(k, r, a)
	if a.code == http.StatusNotFound {
		c.problems.add(Answers, "POST /pins at %s: 404", c.nodes[k.home].name)
	}
}

// rename replaces the record by another one of the same CID.
func (c *client) rename(ctx context.Context, k *key) {
	v, r := c.compose(k)
	a := c.ask(ctx, k.home, http.MethodPost, "/pins/"+k.text(), wirePin{CID: k.text(), Name: r.Name, Meta: r.Meta, Origins: r.Origins})
	c.wrote(k, Write, v, a, c.history.request())
	c.checkAccepted(k, r, a)
}

func (c *client) remove(ctx context.Context, k *key) {
	if !k.shared {
		c.custody.released(k.cid)
	}
	a := c.ask(ctx, k.home, http.MethodDelete, "/pins/"+k.text(), nil)
	c.wrote(k, Remove, Absent, a, c.history.request())
}

// replace replaces a pin by another CID of the same home.
func (c *client) replace(ctx context.Context, from *key) {
	to := c.keys[c.rng.IntN(len(c.keys))]
	if to == from || to.home != from.home || from.unsettled || to.unsettled {
		return
	}
	v, r := c.compose(to)
	c.custody.replaced(from.cid, to.cid)
	a := c.ask(ctx, from.home, http.MethodPost, "/pins/"+from.cid, wirePin{CID: to.cid, Name: r.Name, Meta: r.Meta, Origins: r.Origins})
	request := c.history.request()
	c.wrote(from, Remove, Absent, a, request)
	if a.code != http.StatusNotFound {
		c.wrote(to, Write, v, a, request)
		c.checkAccepted(to, r, a)
	}
}

// wrote enters the result of a write. A 404 is a read: there is no pin.
func (c *client) wrote(k *key, kind Kind, v Value, a answer, request int) {
	op := c.op(k, k.home, kind, v, a)
	op.Request = request
	op.Outcome = a.outcome()
	switch {
	case a.code == http.StatusNotFound:
		op.Kind, op.Value, op.Outcome = Read, Absent, Done
	case op.Outcome == Done:
		c.count.acknowledged.Add(1)
		k.value, k.unsettled, k.moved = v, false, nil
	case op.Outcome == Failed:
		c.count.failed.Add(1)
		k.unsettled = true
	case op.Outcome == Unanswered:
		c.count.unanswered.Add(1)
		k.unsettled = true
	default:
		c.count.refused.Add(1)
	}
	c.history.add(op)
}

func (c *client) op(k *key, peer int, kind Kind, v Value, a answer) Op {
	generation := c.nodes[peer].generation()
	home := peer == k.home && !k.shared && (k.moved == nil || k.moved.generation == generation)
	return Op{
		Request: 0, Client: c.name, CID: k.cid, Kind: kind, Peer: peer, Generation: generation,
		Home: home, Value: v, Outcome: Done, Method: a.method, Code: a.code, Status: a.text(),
		Call: a.call, Return: a.call + a.took,
	}
}

// move makes another peer the home of a key if that shows the last write within some reads, at the
// rate of a client.
func (c *client) move(ctx context.Context, k *key) {
	to := c.anyPeer()
	if to == k.home || k.unsettled || k.value == Absent || k.value == Plain {
		return
	}
	for range 8 {
		generation := c.nodes[to].generation()
		if v, ok := c.get(ctx, k, to); ok && v == k.value {
			from := k.home
			if k.moved != nil {
				from = k.moved.from
			}
			k.home, k.moved = to, &move{from, generation}
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// ask sends a request and checks the form of the answer.
func (c *client) ask(ctx context.Context, peer int, method, path string, body any) answer {
	n := c.nodes[peer]
	a := ask(ctx, n, c.who, c.start, method, path, body)
	a.method = method
	c.retryAfter = max(c.retryAfter, a.pause())
	switch {
	case a.err != nil && a.sent && a.took >= requestTimeout && !n.disturbed(c.start.Add(a.call)):
		c.problems.add(Answers, "%s %s at %s: no answer within %v", method, path, n.name, requestTimeout)
	case a.err != nil:
	case a.code == http.StatusServiceUnavailable && a.retryAfter == "":
		c.problems.add(Answers, "%s %s at %s: 503 without Retry-After: %s", method, path, n.name, a.body)
	case a.code == http.StatusInternalServerError, a.code >= 400 && a.code < 500 && a.code != http.StatusNotFound && a.code != http.StatusTooManyRequests:
		c.problems.add(Answers, "%s %s at %s: %d %s", method, path, n.name, a.code, a.body)
	}
	return a
}

// checkAccepted compares the record in the answer to a write with what was
// written. That of a shared key may be of a later write of another client.
func (c *client) checkAccepted(k *key, r Record, a answer) {
	if a.outcome() != Done {
		return
	}
	var p pin
	if err := json.Unmarshal(a.body, &p); err != nil {
		c.problems.add(Answers, "%s: %v: %s", a.method, err, a.body)
		return
	}
	if k.shared {
		c.identify("the answer to "+a.method, p)
		return
	}
	if p.Pin.CID != k.cid || p.RequestID != k.cid || !p.record().equal(r) {
		c.problems.add(OwnRecord, "%s of %s as %+v is answered with %s", a.method, k.cid, r, a.body)
	}
}

// identify is the value of a row, and reports one that belongs elsewhere.
func (w *workload) identify(where string, p pin) Value {
	w.mu.Lock()
	v, wrong := w.registry.identify(canonical(p.Pin.CID), p.record())
	w.mu.Unlock()
	if wrong != "" {
		w.problems.add(OwnRecord, "%s: %s", where, wrong)
	}
	if until := p.Info["pinned_until"]; until != "" && !w.expiring[p.Pin.CID] {
		w.problems.add(OwnRecord, "%s: %s expires at %s, which nobody asked for", where, p.Pin.CID, until)
	}
	return v
}
