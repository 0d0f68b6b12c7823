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
	// completeRetry is the time between two looks at one that was found complete. A longer time
	// counts as this one: this peer may have been frozen, and has heard of nothing then.
	completeRetry = 15 * time.Second
	// DefaultNewsTime is how long it takes until other peers have heard of a write.
	DefaultNewsTime = time.Minute
	// maxChainLooks bounds the pins that one call of UnpinDue polls for.
	maxChainLooks = 16
)

// link is a pin within a chain of replacements: it has replaced another that is still
// there, and was replaced itself before it was pinned.
type link struct {
	// since is when this peer first saw it so.
	since, due time.Time
	retry      backoff.Counter
	// found is when it was last found complete; zero: the last look did not find that.
	found time.Time
	// completeFor is for how long each look has found it complete.
	completeFor time.Duration
}

// foundComplete notes that a look has found it complete; the next one is due after retry.
func (l *link) foundComplete(now time.Time, retry time.Duration) {
	if !l.found.IsZero() {
		l.completeFor += min(now.Sub(l.found), retry)
	}
	l.found, l.due = now, now.Add(retry)
	l.retry.Reset()
}

// examineChains finds out what became of the pins within chains, so that a chain of
// failures does not keep everything (D6). What one that is complete has replaced is due
// from then on; one that has failed at all its holders is unpinned.
//
// Its holders may try again, and another peer find the opposite: one would unpin the pin, and
// the other what that has replaced. So one that has failed is polled once more right before it is
// unpinned, and one counts as complete only when each look has found it so for longer than such a
// removal by another peer takes to be heard of.
func (r *Replaced) examineChains(ctx context.Context) {
	undecided := r.cfg.Index.Undecided()
	now := r.cfg.Now()
	chains := make(map[pinrecord.Replaced]*link, len(undecided))
	for _, pin := range undecided {
		l := r.chains[pin]
		if l == nil {
			l = &link{since: now, due: now.Add(r.delay(pin.Key))}
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
		if err := r.examine(ctx, pin, l); err != nil && pinsvc.KindOf(err) != pinsvc.KindForbidden && ctx.Err() == nil {
			log.Warnf("unpin %s, which was replaced and has failed: %s", pin.Key, err)
		}
	}
}

func (r *Replaced) examine(ctx context.Context, pin pinrecord.Replaced, l *link) error {
	rec, found, err := r.cfg.Syncer.Get(ctx, api.NewCid(pin.Key))
	if err != nil || !found {
		return err
	}
	complete, failed := r.cfg.Poller.Outcome(ctx, rec)
	now := r.cfg.Now()
	if !complete {
		l.found, l.completeFor = time.Time{}, 0
		// A peer that has not heard that it was replaced relies on it as on a pin that clients see.
		if failed && now.Sub(l.since) >= r.cfg.NewsTime && r.cfg.Index.IsSpare(pin) {
			return r.giveUp(ctx, pin)
		}
		return nil
	}
	if l.foundComplete(now, min(completeRetry, r.cfg.CompleteTime)); l.completeFor >= r.cfg.CompleteTime {
		r.cfg.Index.Complete(pin)
	}
	return nil
}

// giveUp unpins a pin that has failed if it still has under its lock, which other work may hold for
// long.
func (r *Replaced) giveUp(ctx context.Context, pin pinrecord.Replaced) error {
	removed, err := r.remove(ctx, pin, nil, func(rec api.Pin) bool {
		if !r.cfg.Index.IsSpare(pin) {
			return false
		}
		_, failed := r.cfg.Poller.Outcome(ctx, rec)
		return failed
	})
	if removed {
		log.Infof("pin %s is unpinned: it was replaced and has failed, and what it has replaced is kept", pin.Key)
	}
	return err
}
