package poll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

const (
	// maxAsked is how many pins this peer is asked about one by one; for more of them a scan
	// takes less time.
	maxAsked = 1000
	// asksAtOnce is how many of them at once.
	asksAtOnce = 8
)

// nodePins are the pins of this peer's IPFS node: 8 bytes for each.
type nodePins struct {
	began time.Time
	// pinned are the recursive ones and direct the others, sorted, by confirmations.hash.
	pinned, direct []uint64
}

// has reports whether the node has a pin: of one that is recursive a direct pin is the root alone.
func (n *nodePins) has(hash uint64, direct bool) bool {
	_, ok := slices.BinarySearch(n.pinned, hash)
	if !ok && direct {
		_, ok = slices.BinarySearch(n.direct, hash)
	}
	return ok
}

// ConfirmOwn begins to read the pins of this peer's IPFS node and returns at once. finish,
// which is called once, waits for the end and enters what Scan would enter for this peer. The
// tracker's report on all pins, which Scan uses, reads the whole shared state; here what the
// view has by then is compared with the node's pins, so that a start reads the state once.
//
// What neither the node has nor the tracker is at work on is asked about one by one: it may have
// been pinned since the node's pins were read.
func (p *Poller) ConfirmOwn(ctx context.Context) (finish func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var (
		node *nodePins
		err  error
		wg   sync.WaitGroup
	)
	wg.Go(func() { node, err = p.readNode(ctx) })
	return func() error {
		defer cancel()
		wg.Wait()
		if err == nil {
			err = p.confirmFrom(ctx, node)
		}
		if err != nil && ctx.Err() == nil {
			log.Debugf("the pins of this peer's IPFS node: %s; its tracker is asked", err)
			return p.Scan(ctx, p.cfg.Self)
		}
		return err
	}
}

func (p *Poller) readNode(ctx context.Context) (*nodePins, error) {
	node := &nodePins{began: p.cfg.Now()}
	p.scans.progress.Begin()
	call, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(scanStall, func() { cancel(errStalled) })
	defer stalled.Stop()
	err := p.cfg.Client.NodePins(call, func(info api.IPFSPinInfo) error {
		stalled.Reset(scanStall)
		switch info.Type {
		case api.IPFSPinStatusRecursive:
			node.pinned = append(node.pinned, p.confirmed.hash(info.Cid.Cid))
		case api.IPFSPinStatusDirect:
			node.direct = append(node.direct, p.confirmed.hash(info.Cid.Cid))
		}
		p.scans.progress.Step()
		return nil
	})
	if err != nil && errors.Is(context.Cause(call), errStalled) {
		err = errStalled
	}
	slices.Sort(node.pinned)
	slices.Sort(node.direct)
	return node, err
}

// confirmFrom enters what the node's pins and the operations of the tracker say of the pins of
// the view.
func (p *Poller) confirmFrom(ctx context.Context, node *nodePins) error {
	// The operations are read after the node's pins, as the tracker does for its report.
	busy, err := p.ownOperations(ctx)
	if err != nil {
		return err
	}
	var missing []cid.Cid
	excess := false
	p.cfg.Tracker.ObserveAll(p.cfg.Self, func(key cid.Cid, m pinset.Mutable) (r peerstatus.Report, ok bool) {
		hash := p.confirmed.hash(key)
		if _, ok := busy[hash]; ok {
			return r, false // Entered already.
		}
		if node.has(hash, m.Direct) {
			return peerstatus.Report{
				Status: api.TrackerStatusPinned, RecordTime: int64(m.Written), Since: time.Unix(int64(m.Written), 0),
			}, true
		}
		if excess = excess || len(missing) == maxAsked; !excess {
			missing = append(missing, key)
		}
		return r, false
	})
	if excess {
		return fmt.Errorf("it lacks more than %d pins", maxAsked)
	}
	g := errgroup.Group{}
	g.SetLimit(asksAtOnce)
	for _, key := range missing {
		g.Go(func() error {
			if _, responded := p.pinAt(ctx, p.cfg.Self, api.NewCid(key)); !responded {
				return fmt.Errorf("no report on %s", key)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	p.scans.ended(p.cfg.Self, node.began, true)
	p.scanEnded(p.cfg.Self, node.began, node.pinned)
	p.succeeded(p.cfg.Self)
	p.confirmRoots(ctx)
	return nil
}

// ownOperations enters what this peer's tracker is at work on or has failed at, and returns
// which pins that are.
func (p *Poller) ownOperations(ctx context.Context) (map[uint64]struct{}, error) {
	busy := make(map[uint64]struct{})
	err := p.cfg.Client.TrackerStatuses(ctx, p.destination(p.cfg.Self), clusterapi.OperationStatuses, func(info api.PinInfo) error {
		busy[p.confirmed.hash(info.Cid.Cid)] = struct{}{}
		p.cfg.Tracker.Observe(p.cfg.Self, info.Cid.Cid, peerstatus.ReportOf(info))
		return nil
	})
	return busy, err
}
