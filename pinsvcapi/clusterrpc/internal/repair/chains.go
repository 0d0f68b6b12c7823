package repair

import (
	"context"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// chainRetryMin and chainRetryMax are the time between two looks at a pin of a chain.
	chainRetryMin, chainRetryMax = 10 * time.Second, 5 * time.Minute
	// maxChainLooks bounds the pins that one call of UnpinDue polls for.
	maxChainLooks = 16
)

// link is a pin within a chain of replacements: it has replaced another that is still
// there, and was replaced itself before it was pinned.
type link struct {
	due   time.Time
	retry backoff.Counter
}

// examineChains finds out what became of the pins within chains, so that a chain of
// failures does not keep everything (D6). What one that is complete has replaced is due
// from then on; one that has failed at all its holders is unpinned.
func (r *Replaced) examineChains(ctx context.Context) {
	undecided := r.cfg.Index.Undecided()
	now := r.cfg.Now()
	chains := make(map[pinrecord.Replaced]*link, len(undecided))
	for _, pin := range undecided {
		l := r.chains[pin]
		if l == nil {
			l = &link{due: now.Add(r.delay(pin.Key))}
			l.retry.Policy = backoff.Policy{Min: chainRetryMin, Max: chainRetryMax}
		}
		chains[pin] = l
	}
	r.chains = chains
	// Those that have waited longest come first, so that none is passed over again and again.
	slices.SortStableFunc(undecided, func(a, b pinrecord.Replaced) int { return chains[a].due.Compare(chains[b].due) })
	for _, pin := range undecided[:min(len(undecided), maxChainLooks)] {
		l := chains[pin]
		if now.Before(l.due) || ctx.Err() != nil {
			return
		}
		l.due = now.Add(l.retry.Next())
		if err := r.examine(ctx, pin); err != nil && pinsvc.KindOf(err) != pinsvc.KindForbidden && ctx.Err() == nil {
			log.Warnf("unpin %s, which was replaced and has failed: %s", pin.Key, err)
		}
	}
}

func (r *Replaced) examine(ctx context.Context, pin pinrecord.Replaced) error {
	rec, found, err := r.cfg.Syncer.Get(ctx, api.NewCid(pin.Key))
	if err != nil || !found {
		return err
	}
	complete, failed := r.cfg.Poller.Outcome(ctx, rec)
	switch {
	case complete:
		r.cfg.Index.Complete(pin)
	case failed && r.cfg.Index.IsSpare(pin):
		removed, err := r.remove(ctx, pin, nil, r.cfg.Index.IsSpare)
		if removed {
			log.Infof("pin %s is unpinned: it was replaced and has failed, and what it has replaced is kept", pin.Key)
		}
		return err
	}
	return nil
}
