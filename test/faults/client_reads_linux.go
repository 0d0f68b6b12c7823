package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// get reads a key at a peer, and returns what it read.
func (c *client) get(ctx context.Context, k *key, peer int) (Value, bool) {
	generation := c.nodes[peer].generation()
	a := c.ask(ctx, peer, http.MethodGet, "/pins/"+k.text(), nil)
	if generation != c.nodes[peer].generation() {
		c.unread(a, peer, k) // Which start answered is not known.
		return "", false
	}
	switch {
	case a.err == nil && a.code == http.StatusNotFound:
		c.read(k, peer, Absent, "", a)
		return Absent, true
	case a.err != nil || a.code != http.StatusOK:
		c.unread(a, peer, k)
		return "", false
	}
	var p pin
	if err := json.Unmarshal(a.body, &p); err != nil {
		c.problems.add(Answers, "GET /pins/%s at %s: %v: %s", k.cid, c.nodes[peer].name, err, a.body)
		return "", false
	}
	return c.see(k, peer, p, a), true
}

// see enters a row that a peer reports for a key.
func (c *client) see(k *key, peer int, p pin, a answer) Value {
	v := c.identify(c.nodes[peer].name, p)
	if v == Foreign {
		return v
	}
	c.read(k, peer, v, p.Status, a)
	own := !k.shared && !k.unsettled && v == k.value && (v != Plain || peer == k.home)
	if p.Status == "pinned" && (own || k.stays) {
		c.count.confirmed.Add(1)
		c.custody.confirmed(k.cid, a.call+a.took)
	}
	return v
}

func (c *client) read(k *key, peer int, v Value, status string, a answer) {
	op := c.op(k, peer, Read, v, a)
	op.Request = c.history.request()
	if status != "" {
		op.Status = status
	}
	c.count.reads.Add(1)
	c.history.add(op)
	if op.Home && !k.unsettled {
		k.value = v
	}
}

// unread enters a request for keys whose answer says nothing of them.
func (c *client) unread(a answer, peer int, keys ...*key) {
	request := c.history.request()
	for _, k := range keys {
		op := c.op(k, peer, Read, "", a)
		op.Request, op.Outcome = request, Failed
		if a.err != nil {
			op.Outcome = Unanswered
		}
		c.history.add(op)
	}
}

// list reads some keys by one request.
func (c *client) list(ctx context.Context) {
	peer := c.anyPeer()
	var some []*key
	var names []string
	for _, i := range c.rng.Perm(len(c.keys))[:min(8, len(c.keys))] {
		some = append(some, c.keys[i])
		names = append(names, c.keys[i].cid)
	}
	generation := c.nodes[peer].generation()
	a := c.ask(ctx, peer, http.MethodGet, "/pins?limit=1000&"+allStatuses+"&"+cids(names), nil)
	if a.err != nil || a.code != http.StatusOK || generation != c.nodes[peer].generation() {
		c.unread(a, peer, some...)
		return
	}
	var p page
	if err := json.Unmarshal(a.body, &p); err != nil {
		c.problems.add(Answers, "GET /pins at %s: %v", c.nodes[peer].name, err)
		return
	}
	rows := map[string]pin{}
	for _, row := range p.Results {
		rows[canonical(row.Pin.CID)] = row
	}
	for _, k := range some {
		if row, ok := rows[k.cid]; ok {
			c.see(k, peer, row, a)
		} else {
			c.read(k, peer, Absent, "", a)
		}
	}
}

// poll asks until the pin is pinned, for a while, at the rate of a client.
func (c *client) poll(ctx context.Context, k *key) {
	for range 10 {
		if v, ok := c.get(ctx, k, k.home); ok && v == Absent {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
