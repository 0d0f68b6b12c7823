package poll

import (
	"context"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/adder/sharding"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// maxRoots bounds the sharded roots of one active poll.
	maxRoots = 16
	// rootsAtOnce is how many are polled at once when all are.
	rootsAtOnce = 8
	// rootsPatience is how long a start and a scan wait for the sharded roots. Those that are left
	// are polled afterwards.
	rootsPatience = 5 * time.Second
)

// root polls the shards of a sharded root and enters their status together. While a
// shard cannot be polled the last status stays, unless the others decide. One without a
// record is held by nobody: it has not come here yet, or was removed. pinned reports
// whether all shards were confirmed.
func (p *Poller) root(ctx context.Context, root api.Pin) (pinned bool) {
	shards, missing, err := p.shards(ctx, root)
	if err != nil {
		log.Debugf("read the shards of pin %s: %s", root.Cid, err)
		return false
	}
	statuses := slices.Repeat([]pinsvc.Status{pinsvc.StatusQueued}, missing)
	incomplete, reason := false, ""
	for _, shard := range shards {
		status, why, complete := p.shard(ctx, shard)
		if ctx.Err() != nil {
			return false
		}
		incomplete = incomplete || !complete && status != pinsvc.StatusPinned
		if status == pinsvc.StatusFailed && reason == "" {
			reason = "a shard of the content failed: " + why
		}
		statuses = append(statuses, status)
	}
	status := peerstatus.AggregateShards(statuses)
	if !incomplete || status == pinsvc.StatusFailed {
		p.cfg.Tracker.ObserveRoot(root.Cid.Cid, status, reason)
	}
	return status == pinsvc.StatusPinned
}

// shard polls the holders of one shard. complete: all of them reported.
func (p *Poller) shard(ctx context.Context, shard api.Pin) (status pinsvc.Status, reason string, complete bool) {
	var count peerstatus.Count
	complete = true
	for _, said := range p.reports(ctx, shard.Cid, peerstatus.HoldersOf(shard, p.cfg.Tracker.Members())) {
		switch {
		case !said.responded:
			count.AddUnknown()
			complete = false
		case count.Add(said.report, p.cfg.MaxAttempts):
			reason = clusterapi.Reason(said.report.Error)
		}
	}
	return count.Status(shard), reason, complete
}

// shards are the records that a sharded root consists of: the index and what it
// lists. The list is a block that only IPFS has. missing is how many the state does not have.
func (p *Poller) shards(ctx context.Context, root api.Pin) (shards []api.Pin, missing int, err error) {
	if root.Reference == nil {
		return nil, 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.StatusTimeout)
	defer cancel()
	index, err := p.cfg.Client.PinGet(ctx, *root.Reference)
	if clusterapi.IsNotFound(err) {
		return nil, 1, nil
	}
	if err != nil {
		return nil, 0, err
	}
	data, err := p.cfg.Client.Block(ctx, index.Cid)
	if err != nil {
		return nil, 0, err
	}
	node, err := sharding.CborDataToNode(data, "cbor")
	if err != nil {
		return nil, 0, err
	}
	shards = []api.Pin{index}
	for _, link := range node.Links() {
		shard, err := p.cfg.Client.PinGet(ctx, api.NewCid(link.Cid))
		switch {
		case clusterapi.IsNotFound(err):
			missing++
		case err != nil:
			return nil, 0, err
		default:
			shards = append(shards, shard)
		}
	}
	return shards, missing, nil
}

// rootByKey polls one sharded root of the view.
func (p *Poller) rootByKey(ctx context.Context, key cid.Cid) {
	rec, found, err := p.cfg.Read(ctx, api.NewCid(key))
	switch {
	case err != nil:
		log.Debugf("read sharded pin %s: %s", key, err)
	case found && rec.Type == api.MetaType:
		p.root(ctx, rec)
	}
}

// activeRoots polls sharded roots that are not settled, one after the other: those after the ones that
// were polled last.
func (p *Poller) activeRoots(ctx context.Context) {
	defer p.active.roots.Store(false)
	var roots []cid.Cid
	p.cfg.View.ForEach(peerstatus.Active, func(text string, m pinset.Mutable) bool {
		if p.cfg.Tracker.Sharded(m.Placement) {
			if key, ok := keyOf(text); ok {
				roots = append(roots, key)
			}
		}
		return true
	})
	for range min(len(roots), maxRoots) {
		p.active.root = (p.active.root + 1) % len(roots)
		p.rootByKey(ctx, roots[p.active.root])
	}
}

// confirmRoots begins to poll all sharded roots, unless that is in progress, and waits for
// rootsPatience at most: a root whose shards cannot be read takes a while.
func (p *Poller) confirmRoots(ctx context.Context) {
	if !p.active.allRoots.CompareAndSwap(false, true) {
		return
	}
	done := make(chan struct{})
	poll := func(ctx context.Context) {
		defer close(done)
		defer p.active.allRoots.Store(false)
		p.allRoots(ctx)
	}
	if !p.cfg.Tasks.Go(poll) {
		return // This peer is shutting down.
	}
	timer := time.NewTimer(rootsPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// allRoots polls all sharded roots.
func (p *Poller) allRoots(ctx context.Context) {
	if !p.cfg.Tracker.AnySharded() {
		return
	}
	var roots []cid.Cid
	p.cfg.View.All(func(text string, m pinset.Mutable) {
		if p.cfg.Tracker.Sharded(m.Placement) {
			if key, ok := keyOf(text); ok {
				roots = append(roots, key)
			}
		}
	})
	var g errgroup.Group
	g.SetLimit(rootsAtOnce)
	for _, key := range roots {
		g.Go(func() error {
			if ctx.Err() == nil {
				p.rootByKey(ctx, key)
			}
			return nil
		})
	}
	_ = g.Wait()
}
