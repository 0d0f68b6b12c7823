package poll

import (
	"context"
	"slices"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// Record polls the peers that should hold the pin of a record. It returns when all
// have reported, or enough have confirmed the pin; later reports are entered when
// they come. It ends early with the context. confirmed reports whether any holder has
// confirmed the pin just now; for a sharded root, whether all shards were confirmed.
func (p *Poller) Record(ctx context.Context, rec api.Pin) (confirmed bool) {
	if rec.Type == api.MetaType {
		return p.root(ctx, rec)
	}
	return p.pin(ctx, rec.Cid, peerstatus.HoldersOf(rec, p.cfg.Tracker.Members()), peerstatus.RequiredReplicas(rec)) > 0
}

// Outcome polls every peer that should hold the pin of a record which the view does not
// have. complete: enough of them hold it; failed: each has reported that its attempt has
// failed.
func (p *Poller) Outcome(ctx context.Context, rec api.Pin) (complete, failed bool) {
	if rec.Type == api.MetaType {
		return p.root(ctx, rec), false
	}
	holders := peerstatus.HoldersOf(rec, p.cfg.Tracker.Members())
	pinned, errored := 0, 0
	for _, said := range p.reports(ctx, rec.Cid, holders) {
		switch {
		case !said.responded:
		case peerstatus.Confirms(rec, said.report):
			pinned++
		case said.report.Failed():
			errored++
		}
	}
	return pinned >= max(1, peerstatus.RequiredReplicas(rec)), errored > 0 && errored == len(holders)
}

// Row is Record for a row of the view, in the background. The channel is closed when
// it ends; it is nil when the record is needed first.
func (p *Poller) Row(ctx context.Context, row pinset.Pin) <-chan struct{} {
	holders, required := p.cfg.Tracker.Holders(row.Placement)
	if len(holders) == 0 {
		return nil
	}
	done := make(chan struct{})
	if !p.cfg.Tasks.Go(func(context.Context) {
		defer close(done)
		p.pin(ctx, api.NewCid(row.CID), holders, required)
	}) {
		return nil
	}
	return done
}

// pin polls the holders of a pin, of which required have to confirm it, and returns how
// many did.
func (p *Poller) pin(ctx context.Context, key api.Cid, holders []peer.ID, required int) (pinned int) {
	targets := p.pollTargets(holders, required)
	if len(targets) == 1 && targets[0] == p.cfg.Self {
		if holds, _ := p.pinAt(ctx, p.cfg.Self, key); holds {
			pinned++
		}
		return pinned
	}
	required = max(required, 1)
	reports := make(chan bool, len(targets))
	for _, id := range targets {
		// A report that is too late for the client is entered all the same, and so is that there is none:
		// of clients that are less patient than StatusTimeout each would find a frozen peer anew.
		if !p.cfg.Tasks.Go(func(ctx context.Context) {
			holds, _ := p.pinAt(ctx, id, key)
			reports <- holds
		}) {
			reports <- false
		}
	}
	for i := 0; i < len(targets) && pinned < required; i++ {
		select {
		case holds := <-reports:
			if holds {
				pinned++
			}
		case <-ctx.Done():
			return pinned
		}
	}
	return pinned
}

// maxSpare is how many more holders of a pin are polled than have to confirm it.
const maxSpare = 7

// pollTargets are the holders to poll for one pin: this peer, which responds fast,
// and others; of a large cluster not all. Scans poll all.
func (p *Poller) pollTargets(holders []peer.ID, required int) []peer.ID {
	if len(holders) == 1 {
		return holders
	}
	targets := slices.Clone(holders)
	if i := slices.Index(targets, p.cfg.Self); i > 0 {
		copy(targets[1:i+1], targets[:i])
		targets[0] = p.cfg.Self
	}
	return targets[:min(len(targets), required+maxSpare)]
}

// pinAt polls one peer for a pin, enters the report and reports whether the peer
// holds the pin, and whether it responded.
func (p *Poller) pinAt(ctx context.Context, id peer.ID, key api.Cid) (holds, ok bool) {
	began := p.cfg.Now()
	report, ok := p.report(ctx, id, key)
	if ok {
		p.cfg.Tracker.Observe(id, key.Cid, report)
		if holds = p.cfg.Tracker.Confirms(key.Cid, report); holds {
			p.recent.note(p.recent.id(key.Cid, id), began)
		}
	}
	return holds, ok
}

// report polls one peer for a pin, unless the peer did not respond just before.
func (p *Poller) report(ctx context.Context, id peer.ID, key api.Cid) (peerstatus.Report, bool) {
	if !p.breaker.Allow(id) {
		return peerstatus.Report{}, false
	}
	call, cancel := context.WithTimeout(ctx, p.cfg.StatusTimeout)
	defer cancel()
	info, err := p.cfg.Client.TrackerStatus(call, p.destination(id), key)
	p.ended(ctx, id, err)
	if err != nil {
		log.Debugf("poll peer %s for pin %s: %s", id, key, err)
		return peerstatus.Report{}, false
	}
	return peerstatus.ReportOf(info), true
}

// response is what a peer reports on a pin, if it does.
type response struct {
	report    peerstatus.Report
	responded bool
}

// reports polls peers for a pin that the view does not have, at the same time, until the context ends. Those
// that have not responded by then, or do not, have said nothing. What a peer does after that counts for its
// circuit: of callers that are less patient than StatusTimeout each would find a frozen peer anew.
func (p *Poller) reports(ctx context.Context, key api.Cid, peers []peer.ID) []response {
	responses := make(chan response, len(peers))
	for _, id := range peers {
		if !p.cfg.Tasks.Go(func(ctx context.Context) {
			report, ok := p.report(ctx, id, key)
			responses <- response{report, ok}
		}) {
			responses <- response{} // This peer is shutting down.
		}
	}
	all := make([]response, len(peers))
	for i := range all {
		select {
		case all[i] = <-responses:
		case <-ctx.Done():
			return all
		}
	}
	return all
}
