package origins

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// dialler dials the nodes that are origins of pins in progress, all of them and
// again and again (U17 in docs/upstream-faults.md), and those of the other members
// of the cluster. Pins with the same node share its dials.
type dialler struct {
	swarm   Swarm
	limits  limits
	members *directory

	mu       sync.Mutex
	jobs     map[cid.Cid]map[*job]struct{}
	nodes    map[peer.ID]*node
	dialling int
	counters Stats

	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// job is a pin in progress.
type job struct {
	cid         cid.Cid
	allocations []peer.ID
	nodes       map[peer.ID]*node
	dialling    int
	due         time.Time // When its content has not come and the members' nodes are dialled.
	waits       bool      // That time is over.
}

// node is an origin of at least one job, or that of a member. When the last job ends, so does ctx.
type node struct {
	candidate
	jobs     map[*job]struct{}
	due      time.Time // Of the next dial.
	last     time.Time // End of the last dial, zero before.
	retries  backoff.Counter
	dialling bool
	changed  bool // Addresses were added during the dial.
	err      error

	ctx    context.Context
	cancel context.CancelFunc
}

// Stats are the counters and gauges of the dials.
type Stats struct {
	// Dials is the number of dials that ended, Failures of those that did not
	// connect. Dials that ended because their pin did are in neither.
	Dials, Failures uint64
	// Dialling is the number of dials in progress, Nodes of the nodes that are
	// dialled now and then, Pins of the pins that they belong to.
	Dialling, Nodes, Pins int
}

func newDialler(swarm Swarm, l limits) *dialler {
	d := &dialler{
		swarm: swarm, limits: l,
		jobs: make(map[cid.Cid]map[*job]struct{}), nodes: make(map[peer.ID]*node),
		wake: make(chan struct{}, 1),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.members = newDirectory(d.membersChanged)
	d.wg.Go(d.run)
	return d
}

// stop ends all dials and waits until they have ended.
func (d *dialler) stop() {
	d.members.stop()
	d.cancel()
	d.wg.Wait()
}

// begin starts to dial the origins of a pin, and the nodes of members, after the
// grace time.
func (d *dialler) begin(c cid.Cid, origins []multiaddr.Multiaddr, allocations []peer.ID) *job {
	due := time.Now().Add(d.limits.grace)
	j := &job{cid: c, allocations: allocations, nodes: make(map[peer.ID]*node), due: due}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.jobs[c] == nil {
		d.jobs[c] = make(map[*job]struct{})
	}
	d.jobs[c][j] = struct{}{}
	d.wakeUp()
	for _, found := range candidates(origins, d.limits.nodes, d.limits.addrs) {
		d.join(j, found, due)
	}
	return j
}

// update adds origins to the jobs of a pin, dials new ones at once and
// reports whether there is such a job.
func (d *dialler) update(c cid.Cid, origins []multiaddr.Multiaddr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	jobs := d.jobs[c]
	if len(jobs) == 0 {
		return false
	}
	added := candidates(origins, d.limits.nodes, d.limits.addrs)
	for j := range jobs {
		for _, found := range added {
			d.join(j, found, time.Now())
		}
		d.trim(j, added)
	}
	return true
}

// join makes a node an origin of a job. A new node, and one with new addresses,
// is dialled when due. Needs the lock.
func (d *dialler) join(j *job, found candidate, due time.Time) {
	n := d.nodes[found.id]
	if n == nil {
		n = &node{candidate: found, jobs: make(map[*job]struct{}), due: due}
		n.retries.Policy = d.limits.retry
		n.ctx, n.cancel = context.WithCancel(d.ctx)
		d.nodes[found.id] = n
	} else {
		d.refresh(n, found, due)
	}
	n.jobs[j] = struct{}{}
	j.nodes[found.id] = n
	d.wakeUp()
}

// refresh adds addresses to a node. A node that waits for its next dial does
// not wait longer than a new one. Needs the lock.
func (d *dialler) refresh(n *node, found candidate, due time.Time) {
	addrs := sortAddrs(merge(n.addrs, found.addrs))
	if len(addrs) > len(n.addrs) {
		// Those of the last record are tried in any case.
		addrs = sortAddrs(merge(found.addrs, addrs[:min(len(addrs), d.limits.addrs)]))
		n.addrs, n.class = addrs, classOf(addrs[0])
		n.changed = n.dialling
		n.retries.Reset()
		n.due = earlier(n.due, due)
		return
	}
	if !n.last.IsZero() {
		n.due = earlier(n.due, later(due, n.last.Add(d.limits.gap)))
	}
}

// trim keeps a job that was updated often within its limit: the least
// connectable of the nodes that are not in added leave it. Needs the lock.
func (d *dialler) trim(j *job, added []candidate) {
	excess := len(j.nodes) - d.limits.nodes
	if excess <= 0 {
		return
	}
	var others []*node
	for id, n := range j.nodes {
		if !slices.ContainsFunc(added, func(c candidate) bool { return c.id == id }) {
			others = append(others, n)
		}
	}
	slices.SortFunc(others, func(a, b *node) int {
		return cmp.Or(cmp.Compare(b.class, a.class), cmp.Compare(b.id, a.id))
	})
	for _, n := range others[:min(excess, len(others))] {
		d.leave(j, n)
	}
}

// end ends the job and the dials that no other job needs.
func (d *dialler) end(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range j.nodes {
		d.leave(j, n)
	}
	if delete(d.jobs[j.cid], j); len(d.jobs[j.cid]) == 0 {
		delete(d.jobs, j.cid)
	}
}

// leave needs the lock.
func (d *dialler) leave(j *job, n *node) {
	delete(j.nodes, n.id)
	if delete(n.jobs, j); len(n.jobs) == 0 {
		n.cancel()
		delete(d.nodes, n.id)
	}
}

func (d *dialler) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run starts dials when they are due until the dialler stops.
func (d *dialler) run() {
	const idle = time.Hour
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-d.wake:
		case <-d.ctx.Done():
			return
		}
		timer.Reset(min(d.startDue(time.Now()), idle))
	}
}

// startDue starts the dials that are due, as far as the limits permit, and
// returns the time until the next one is. A dial that ends wakes the loop, so
// that dials over a limit need no time of their own.
func (d *dialler) startDue(now time.Time) time.Duration {
	const idle = time.Hour
	d.mu.Lock()
	defer d.mu.Unlock()
	var due []*node
	next := d.dialMembers(now, idle)
	for _, n := range d.nodes {
		switch wait := n.due.Sub(now); {
		case n.dialling:
		case wait <= 0:
			due = append(due, n)
		default:
			next = min(next, wait)
		}
	}
	// First dials go before repeated ones, so that unreachable nodes do not
	// delay the others.
	slices.SortFunc(due, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.retries.Attempts(), b.retries.Attempts()),
			cmp.Compare(a.class, b.class), a.due.Compare(b.due))
	})
	for _, n := range due {
		if d.dialling >= d.limits.dials {
			break
		}
		if d.mayDial(n) {
			d.start(n)
		}
	}
	return next
}

// mayDial is true if one of the node's jobs is below its limit. Needs the lock.
func (d *dialler) mayDial(n *node) bool {
	for j := range n.jobs {
		if j.dialling < d.limits.dialsPerPin {
			return true
		}
	}
	return false
}

// start needs the lock.
func (d *dialler) start(n *node) {
	// The jobs at the start are charged: others may join or leave meanwhile.
	charged := make([]*job, 0, len(n.jobs))
	for j := range n.jobs {
		j.dialling++
		charged = append(charged, j)
	}
	n.dialling, n.changed = true, false
	d.dialling++
	to := peer.AddrInfo{ID: n.id, Addrs: slices.Clone(n.addrs)}
	d.wg.Go(func() {
		ctx, cancel := context.WithTimeout(n.ctx, d.limits.timeout)
		defer cancel()
		err := d.swarm.Connect(ctx, to)
		d.ended(n, charged, err)
	})
}

// ended takes the result of a dial and plans the next one.
func (d *dialler) ended(n *node, charged []*job, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.wakeUp()
	for _, j := range charged {
		j.dialling--
	}
	d.dialling--
	n.dialling = false
	if n.ctx.Err() != nil {
		return // Nobody needs the node any more.
	}
	n.last, n.err = time.Now(), err
	d.counters.Dials++
	wait := d.limits.check.Next(1)
	if err != nil {
		d.counters.Failures++
		wait = n.retries.Next()
		logger.Debugf("connecting to %s: %s", n.id, err)
	} else {
		n.retries.Reset()
	}
	if n.changed {
		wait = 0
	}
	n.due = n.last.Add(wait)
}

func (d *dialler) stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.counters
	s.Dialling, s.Nodes, s.Pins = d.dialling, len(d.nodes), 0
	for _, jobs := range d.jobs {
		for j := range jobs {
			if len(j.nodes) > 0 {
				s.Pins++
			}
		}
	}
	return s
}

// ids returns the nodes that are origins of pins in progress, and those of members
// if there is a pin in progress.
func (d *dialler) ids() []peer.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := slices.Collect(maps.Keys(d.nodes))
	if len(d.jobs) == 0 {
		return ids
	}
	for _, node := range d.members.first(nil) {
		if d.nodes[node.ID] == nil {
			ids = append(ids, node.ID)
		}
	}
	return ids
}

// logFailures logs which nodes that may have the content of a pin are unreachable.
func (d *dialler) logFailures(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	unreachable, example := 0, (*node)(nil)
	for _, n := range j.nodes {
		if n.err != nil {
			unreachable, example = unreachable+1, n
		}
	}
	if example != nil {
		logger.Infof("pin %s was not fetched; %d of the %d nodes that may have it cannot be reached, for example %s: %s",
			j.cid, unreachable, len(j.nodes), example.id, example.err)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
