package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// errBusy: something else happens to the peer that excludes the fault.
var errBusy = errors.New("another fault excludes it")

// hour is how wrong a clock is.
const hour = time.Hour

// inject lets a fault happen and ends it, when its time is over or ctx is done.
func (r *runner) inject(ctx context.Context, f Fault) error {
	n := r.nodes[f.Peer]
	switch f.Kind {
	case KillPeer, FallBehind:
		return r.down(ctx, n, f.For, n.kill)
	case RestartPeer:
		return r.down(ctx, n, 0, n.stop)
	case TornWrite:
		return r.tear(ctx, n, f.For)
	case FreezePeer:
		return r.exclusive(n, func() error { return during(ctx, f.For, n.freeze, n.thaw) })
	case CutPeer, CutLink, CutOneWay, SlowLink:
		return r.disturbLinks(ctx, f)
	case KillKubo:
		return r.exclusive(n, n.killKubo)
	case FullRepo:
		return full(ctx, n, n.repo, f.For)
	case FullStore:
		return full(ctx, n, n.store, f.For)
	case ClockBack:
		return wrongClock(ctx, n, -hour, f.For)
	case ClockForward:
		return wrongClock(ctx, n, hour, f.For)
	case Garbage:
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return n.kubo().collectGarbage(ctx)
	case RollingStart:
		return r.rollingRestart(ctx)
	case ReplaceFolder:
		return r.rejoin(ctx, n, true)
	case ReplacePeer:
		return r.rejoin(ctx, n, false)
	case Snapshot:
		return r.installSnapshot(ctx, n)
	}
	return fmt.Errorf("unknown fault %q", f.Kind)
}

// exclusive runs f while nothing else starts, stops or freezes the peer.
func (r *runner) exclusive(n *node, f func() error) error {
	if !n.action.TryLock() {
		return errBusy
	}
	defer n.action.Unlock()
	if !n.running() {
		return errBusy
	}
	return f()
}

// down ends a peer, and starts it again after the time.
func (r *runner) down(ctx context.Context, n *node, wait time.Duration, end func() error) error {
	return r.exclusive(n, func() error {
		err := end()
		backoff.Sleep(ctx, wait)
		return errors.Join(err, n.start())
	})
}

// during lets something be, and ends it.
func during(ctx context.Context, wait time.Duration, begin, end func() error) error {
	if err := begin(); err != nil {
		return errors.Join(err, end())
	}
	backoff.Sleep(ctx, wait)
	return end()
}

func full(ctx context.Context, n *node, d *disk, wait time.Duration) error {
	if !d.busy.TryLock() {
		return errBusy
	}
	defer d.busy.Unlock()
	return during(ctx, wait, d.fill, d.empty)
}

func wrongClock(ctx context.Context, n *node, offset, wait time.Duration) error {
	if !n.clockBusy.TryLock() {
		return errBusy
	}
	defer n.clockBusy.Unlock()
	return during(ctx, wait, func() error { return n.setClock(offset) }, func() error { return n.setClock(0) })
}

// disturbLinks cuts or slows links. Faults of links add up.
func (r *runner) disturbLinks(ctx context.Context, f Fault) error {
	var links [][2]int
	switch f.Kind {
	case CutPeer:
		for other := range r.network.ports {
			if other != f.Peer {
				links = append(links, [2]int{f.Peer, other}, [2]int{other, f.Peer})
			}
		}
	case CutOneWay:
		links = [][2]int{{f.Peer, f.Other}}
	default:
		links = [][2]int{{f.Peer, f.Other}, {f.Other, f.Peer}}
	}
	each := func(begin bool) func() error {
		return func() error {
			for _, l := range links {
				switch {
				case f.Kind == SlowLink && begin:
					r.network.slow(l[0], l[1], slowBy)
				case f.Kind == SlowLink:
					r.network.slow(l[0], l[1], -slowBy)
				case begin:
					r.network.cut(l[0], l[1])
				default:
					r.network.restore(l[0], l[1])
				}
			}
			return nil
		}
	}
	return during(ctx, f.For, each(true), each(false))
}

// slowBy is the delay of a slow link, in each direction.
const slowBy = 500 * time.Millisecond

// rollingRestart restarts one peer after the other, as an upgrade does.
func (r *runner) rollingRestart(ctx context.Context) error {
	for _, n := range r.nodes {
		n.action.Lock()
		err := errors.Join(n.stop(), n.start())
		n.action.Unlock()
		if err != nil {
			return err
		}
		// Another fault may stop it meanwhile: then we go on.
		_ = eventually(ctx, 30*time.Second, func() error { return n.ready(ctx) })
	}
	return nil
}
