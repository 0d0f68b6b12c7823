package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// newcomer is a peer with an empty folder, or another one in its place. It reads all that was ever
// written (CRDT), and shows old states until then: deleted pins, and records that others have
// superseded, which no promise excludes. So its clients go to the other peers, as an operator has
// it, while that lasts; they come back when it has caught up. The others have lost nothing: they
// go on, and they and the rest of the run have no more time for anything because of it.
type newcomer struct {
	*node
	// until is when it must have all, records and content.
	until time.Time
}

// readPerWrite is how long a newcomer may take besides for each write before it came, each of which
// may be a block of its own (CRDT), on a machine that does something else as well.
const readPerWrite = 20 * time.Millisecond

// leave takes a peer from the clients before its folder is emptied. No request is running, and
// all peers show the last writes, so each of them can take its place.
func (r *runner) leave(n *node) {
	n.behind.Store(true)
	for _, c := range r.workload.clients {
		for _, k := range c.keys {
			if k.home == n.index {
				k.home = c.anyPeer()
			}
		}
	}
	written := time.Duration(r.workload.count.acknowledged.Load())
	r.newcomer = &newcomer{n, time.Now().Add(settleTimeout + written*readPerWrite)}
}

// anyPeer is a peer by chance, of those that clients use.
func (c *client) anyPeer() int {
	peer := c.rng.IntN(len(c.nodes))
	for c.nodes[peer].behind.Load() { // One at most is.
		peer = (peer + 1) % len(c.nodes)
	}
	return peer
}

// others are the peers that have lost nothing.
func (r *runner) others() []*node {
	return slices.DeleteFunc(slices.Clone(r.nodes), func(n *node) bool { return r.newcomer != nil && n == r.newcomer.node })
}

// settle waits until all agree after healing. What a newcomer may lack longer, the others may not.
func (r *runner) settle(ctx context.Context) {
	timeout := settleTimeout
	if r.newcomer != nil {
		timeout = max(timeout, time.Until(r.newcomer.until))
		if r.opts.Copies == 0 { // Else another node may be the one that has to have a pin.
			r.agree(ctx, r.others(), settleTimeout)
		}
	}
	r.seen = r.agree(ctx, r.nodes, timeout)
	if r.seen != nil {
		r.hold(r.seen)
	}
	if r.newcomer != nil {
		r.newcomer.behind.Store(false)
		r.newcomer = nil
	}
}

// welcome sends clients to a newcomer again once it has caught up.
func (r *runner) welcome(ctx context.Context) {
	if r.newcomer == nil {
		return
	}
	for turn := 1; r.newcomer.behind.Load() && ctx.Err() == nil; turn++ {
		other := r.nodes[(r.newcomer.index+1+turn%(peers-1))%peers]
		err := r.caughtUp(ctx, r.newcomer.node, other)
		switch {
		case err == nil:
			r.newcomer.behind.Store(false)
			r.log("%s has caught up", r.newcomer.name)
		case turn%10 == 0:
			r.log("%s is behind: %v", r.newcomer.name, err)
		}
		backoff.Sleep(ctx, time.Second)
	}
}

// arrival is how long a change may take to arrive at another peer while nothing is wrong.
const arrival = 3 * time.Second

// caughtUp is nil when a peer has all that another one had when it was asked. The rows alone do
// not tell: the newest changes come first, and older ones can undo them for a while.
func (r *runner) caughtUp(ctx context.Context, n, other *node) error {
	who := r.workload.clients[0].who
	before, err := listAll(ctx, other, who)
	if err != nil {
		return err
	}
	backoff.Sleep(ctx, arrival)
	if err := eventually(ctx, arrival, func() error { return n.walksNothing(ctx) }); err != nil {
		return err
	}
	list, err := listAll(ctx, n, who)
	if err != nil {
		return err
	}
	after, err := listAll(ctx, other, who)
	if err != nil {
		return err
	}
	if cid, behind := lags(rowsOf(before), rowsOf(list), rowsOf(after)); behind {
		return fmt.Errorf("%s does not have %s as %s", n.name, cid, other.name)
	}
	return nil
}

// walking is the gauge of branches of the CRDT that a peer still reads. A Raft peer has none.
var walking = regexp.MustCompile(`(?m)^pinsvc_crdt_unfinished_branches ([1-9].*)$`)

// walksNothing is nil when the peer has read all of which it heard.
func (n *node) walksNothing(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url(metricsPort, "/metrics"), nil)
	if err != nil {
		return err
	}
	status, body, err := send(n.http, req)
	if found := walking.FindSubmatch(body); found != nil {
		err = errors.Join(err, fmt.Errorf("%s reads %s branches", n.name, found[1]))
	}
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: /metrics: %d %s", n.name, status, body)
	}
	return err
}
