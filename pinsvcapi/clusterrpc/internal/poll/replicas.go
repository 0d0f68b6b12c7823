package poll

import (
	"context"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// maxIncomplete bounds the pins whose other holders are polled, and
	// maxReplicaPolls how often: for about two minutes. Scans find what is left.
	maxIncomplete, maxReplicaPolls = 4096, 8
	// changesAtOnce is how many changes of the view are read at once.
	changesAtOnce = 1024
)

// replicaPolls are the pins that have become pinned while some of their holders have
// not confirmed them. It belongs to one goroutine.
type replicaPolls struct {
	pins map[cid.Cid]replicaPoll
}

type replicaPoll struct {
	due   time.Time
	polls int
}

// FollowReplicas polls the other holders of pins that have become pinned, so that the
// number of replicas is shown soon: once enough holders confirmed a pin, active polls
// no longer include it. It returns with the context.
func (p *Poller) FollowReplicas(ctx context.Context) {
	r := replicaPolls{pins: make(map[cid.Cid]replicaPoll)}
	for seq := p.cfg.View.Seq(); ctx.Err() == nil; {
		seq = p.readChanges(&r, seq)
		p.pollReplicas(ctx, &r)
		timer := time.NewTimer(r.wait(p.cfg.Now()))
		select {
		case <-p.cfg.View.Changed(seq):
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// readChanges notes the pins that have become pinned and are incomplete, and returns the
// number of the last change that was read.
func (p *Poller) readChanges(r *replicaPolls, seq uint64) uint64 {
	for {
		changes, err := p.cfg.View.Since(seq, changesAtOnce)
		if err != nil {
			return p.cfg.View.Seq() // Too many at once: scans confirm the rest.
		}
		for _, change := range changes {
			seq = change.Seq
			if change.Kind == pinset.Removed || change.New != pinsvc.StatusPinned || change.Old == change.New || len(r.pins) >= maxIncomplete {
				continue
			}
			if key, ok := keyOf(change.Key); ok && len(p.unconfirmed(key)) > 0 {
				r.pins[key] = replicaPoll{due: p.cfg.Now().Add(quietDelays.Next(1))}
			}
		}
		if len(changes) < changesAtOnce {
			return seq
		}
	}
}

// unconfirmed are the holders of a pinned pin that have neither confirmed nor failed it; of
// a large cluster not all, since each of its peers polls. Scans poll all.
func (p *Poller) unconfirmed(key cid.Cid) (ids []peer.ID) {
	m, found := p.cfg.View.Lookup(key)
	if !found || m.Status != pinsvc.StatusPinned {
		return nil
	}
	holders, _ := p.cfg.Tracker.Holders(m.Placement)
	for _, id := range holders {
		switch st, _ := p.cfg.Tracker.PeerState(m, id); st {
		case peerstatus.Pinned, peerstatus.Rewritten, peerstatus.Failed:
		default:
			ids = append(ids, id)
		}
		if len(ids) == maxSpare {
			break
		}
	}
	return ids
}

// pollReplicas polls the holders of pins that are due.
func (p *Poller) pollReplicas(ctx context.Context, r *replicaPolls) {
	now := p.cfg.Now()
	var g errgroup.Group
	g.SetLimit(absentWorkers)
	for key, poll := range r.pins {
		if poll.due.After(now) {
			continue
		}
		ids := p.unconfirmed(key)
		if poll.polls++; len(ids) == 0 || poll.polls > maxReplicaPolls {
			delete(r.pins, key)
			continue
		}
		for _, id := range ids {
			g.Go(func() error {
				p.pinAt(ctx, id, api.NewCid(key))
				return nil
			})
		}
		poll.due = now.Add(quietDelays.Next(poll.polls + 1))
		r.pins[key] = poll
	}
	_ = g.Wait() // None of them fails.
}

// wait is how long nothing is due.
func (r *replicaPolls) wait(now time.Time) time.Duration {
	wait := time.Hour
	for _, poll := range r.pins {
		wait = min(wait, poll.due.Sub(now))
	}
	return max(wait, activeWait)
}
