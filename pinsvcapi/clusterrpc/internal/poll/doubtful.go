package poll

import (
	"context"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
)

// A stream of reports is older than the moment at which it comes. A tracker reads the pins of its IPFS node before it
// reads the state: what was pinned in between is none of the former, and no operation any more, so the report is that
// the node lost it (U121 in docs/upstream-faults.md). Such pins are asked about one by one, as at a start.

// askPatience is for how long a scan asks about single pins at its end. The others are as they were reported.
const askPatience = 30 * time.Second

// doubtful are the reports of one stream that are looked at once more.
type doubtful struct {
	began   time.Time // of the stream
	reports map[cid.Cid]peerstatus.Report
}

// overtaken reports whether a peer was asked about a pin since a stream of its reports began, and has confirmed it.
func (p *Poller) overtaken(id peer.ID, key cid.Cid, began time.Time) bool {
	return p.recent.within(p.recent.id(key, id), p.cfg.Now().Sub(began)+1)
}

// enter enters a report of a scan, unless it is to be looked at once more.
func (p *Poller) enter(id peer.ID, d *doubtful, key cid.Cid, r peerstatus.Report) {
	if r.Status == api.TrackerStatusPinned || !p.tellsOfLoss(id, key, r) {
		p.cfg.Tracker.Observe(id, key, r)
		return
	}
	overtaken := p.overtaken(id, key, d.began)
	switch {
	case len(d.reports) < maxAsked && (overtaken || r.Status == api.TrackerStatusUnexpectedlyUnpinned):
		d.reports[key] = r
	case !overtaken:
		p.cfg.Tracker.Observe(id, key, r)
	}
}

// tellsOfLoss reports whether a report, which is of no pinned pin, takes back what the peer has confirmed, or is the
// first that says of a pin that the IPFS node lost it.
func (p *Poller) tellsOfLoss(id peer.ID, key cid.Cid, r peerstatus.Report) bool {
	m, found := p.cfg.View.Lookup(key)
	if !found {
		return false
	}
	switch st, counts := p.cfg.Tracker.PeerState(m, id); st {
	case peerstatus.Lost, peerstatus.Retrying, peerstatus.Failed:
		return false
	case peerstatus.Pinned, peerstatus.Rewritten:
		return counts
	default:
		return counts && r.Status == api.TrackerStatusUnexpectedlyUnpinned
	}
}

// askAgain asks a peer about the pins whose reports are doubtful. Where it does not respond, the report is entered.
func (p *Poller) askAgain(ctx context.Context, id peer.ID, d *doubtful) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(asksAtOnce)
	for key, report := range d.reports {
		g.Go(func() error {
			if _, responded := p.pinAt(ctx, id, api.NewCid(key)); !responded {
				p.cfg.Tracker.Observe(id, key, report)
			}
			return nil
		})
	}
	_ = g.Wait() // None of them fails.
}
