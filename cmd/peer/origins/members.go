package origins

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// Limits of what is asked of the other members.
const (
	// membersInterval is the time between two looks at their IPFS nodes. While a
	// pin waits for its content, or a member gave no reply, it grows from
	// membersSoonest to membersSoon.
	membersInterval, membersSoonest, membersSoon = time.Minute, time.Second, 10 * time.Second
	// membersTimeout bounds a look.
	membersTimeout = 20 * time.Second
	// maxMembers bounds the members whose nodes are dialled for a pin.
	maxMembers = 64
)

// members returns the IPFS nodes of the other members of the cluster, by the
// members' peer IDs. A member that gave no reply has a node without an ID.
type members func(ctx context.Context) (map[peer.ID]peer.AddrInfo, error)

// directory has the IPFS nodes of the other members, at most a minute old. They
// are where content most likely is that nobody else has any more: Kubo finds
// them only by a DHT, and upstream connects them once, some time after the start
// of a peer (U80 in docs/upstream-faults.md).
type directory struct {
	changed func()

	mu    sync.Mutex
	nodes map[peer.ID]peer.AddrInfo // Never changed, replaced.
	order []peer.ID                 // The members, sorted.

	soon   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newDirectory calls changed after each look.
func newDirectory(changed func()) *directory {
	d := &directory{changed: changed, soon: make(chan struct{}, 1)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// start begins to look at the members. Without it there are none.
func (d *directory) start(ask members) { d.wg.Go(func() { d.run(ask) }) }

func (d *directory) stop() {
	d.cancel()
	d.wg.Wait()
}

// hurry has the next look made soon: a pin waits for its content.
func (d *directory) hurry() {
	select {
	case d.soon <- struct{}{}:
	default:
	}
}

func (d *directory) run(ask members) {
	retry := backoff.Counter{Policy: backoff.Policy{Min: membersSoonest, Max: membersSoon}}
	for {
		complete := d.look(ask)
		if !d.sleep(retry.Next(), nil) {
			return
		}
		if !complete {
			continue
		}
		select {
		case <-d.soon:
			continue
		default:
		}
		retry.Reset()
		if !d.sleep(membersInterval, d.soon) {
			return
		}
	}
}

// sleep waits for the time, or for a signal. It reports whether the directory goes on.
func (d *directory) sleep(pause time.Duration, signal <-chan struct{}) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-signal:
	case <-d.ctx.Done():
		return false
	}
	return true
}

// look reports whether every member gave a reply. One that did not keeps the
// node that it had.
func (d *directory) look(ask members) (complete bool) {
	ctx, cancel := context.WithTimeout(d.ctx, membersTimeout)
	defer cancel()
	nodes, err := ask(ctx)
	if err != nil {
		logger.Debugf("the IPFS nodes of the members are not known: %s", err)
		return false
	}
	complete = true
	d.mu.Lock()
	for member, node := range nodes {
		if node.ID == "" {
			complete = false
			if node = d.nodes[member]; node.ID == "" {
				delete(nodes, member)
				continue
			}
			nodes[member] = node
		}
	}
	d.nodes, d.order = nodes, slices.Sorted(maps.Keys(nodes))
	d.mu.Unlock()
	d.changed()
	return complete
}

// first returns the nodes to dial for a pin: those of the members that it is
// allocated to, then others.
func (d *directory) first(allocations []peer.ID) []peer.AddrInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	chosen := make([]peer.AddrInfo, 0, min(len(d.order), maxMembers))
	for _, member := range allocations {
		if node, ok := d.nodes[member]; ok && len(chosen) < maxMembers {
			chosen = append(chosen, node)
		}
	}
	for _, member := range d.order {
		if len(chosen) == maxMembers {
			break
		}
		if !slices.Contains(allocations, member) {
			chosen = append(chosen, d.nodes[member])
		}
	}
	return chosen
}

// dialMembers makes the nodes of members origins of the pins that wait for their
// content. It returns the time until the next pin is one of them, at most idle.
// Needs the lock.
func (d *dialler) dialMembers(now time.Time, idle time.Duration) time.Duration {
	next := idle
	for _, jobs := range d.jobs {
		for j := range jobs {
			switch wait := j.due.Sub(now); {
			case j.waits:
			case wait <= 0:
				j.waits = true
				d.joinMembers(j, now)
			default:
				next = min(next, wait)
			}
		}
	}
	return next
}

// membersChanged takes new nodes, and new addresses of known ones.
func (d *dialler) membersChanged() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, jobs := range d.jobs {
		for j := range jobs {
			if j.waits {
				d.joinMembers(j, now)
			}
		}
	}
}

// joinMembers has a node that is known already dialled when it is due, so that one
// that is away is not dialled for each pin anew. Needs the lock.
func (d *dialler) joinMembers(j *job, now time.Time) {
	d.members.hurry()
	for _, member := range d.members.first(j.allocations) {
		found, ok := asCandidate(member, d.limits.addrs)
		if !ok {
			continue
		}
		if n := d.nodes[found.id]; n != nil && n.knows(found.addrs) {
			n.jobs[j], j.nodes[found.id] = struct{}{}, n
			continue
		}
		d.join(j, found, now)
	}
}

// asCandidate is a member's node as it is dialled.
func asCandidate(node peer.AddrInfo, maxAddrs int) (candidate, bool) {
	if node.ID == "" || len(node.Addrs) == 0 {
		return candidate{}, false
	}
	addrs := sortAddrs(slices.Clone(node.Addrs))
	return candidate{id: node.ID, class: classOf(addrs[0]), addrs: addrs[:min(len(addrs), maxAddrs)]}, true
}

// knows reports whether a node has all of the addresses.
func (n *node) knows(addrs []multiaddr.Multiaddr) bool {
	return !slices.ContainsFunc(addrs, func(addr multiaddr.Multiaddr) bool {
		return !slices.ContainsFunc(n.addrs, addr.Equal)
	})
}
