package poll

import (
	"context"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

const (
	// youngAge is the age up to which a pin in flight is looked up in this peer's tracker
	// before an active poll is due, and youngShare the share of its age after which it is
	// looked up again: one in so many, but no sooner than youngPause. At youngAge that is
	// as often as active polls.
	youngAge, youngShare, youngPause = 8 * time.Second, 8, 50 * time.Millisecond
)

// Young looks a pin in flight up in the tracker of this peer if the pin is young, and
// reports whether its status may have changed. The tracker answers from memory while it
// is at work on the pin, and asks its IPFS node once it is done. However many clients
// poll the pin, it is looked up a few times a second.
func (p *Poller) Young(ctx context.Context, row pinset.Pin) (changed bool) {
	written := max(row.Created.UnixMilli(), 1000*int64(row.Written))
	age := max(time.Duration(p.cfg.Now().UnixMilli()-written)*time.Millisecond, 0)
	if age >= youngAge || p.cfg.Tracker.Sharded(row.Placement) {
		return false
	}
	state, counts := p.cfg.Tracker.PeerState(pinset.Mutable{Placement: row.Placement, Vector: row.Vector}, p.cfg.Self)
	if !counts || state == peerstatus.Pinned || !p.looks.take(p.looks.id(row.CID, p.cfg.Self), max(age/youngShare, youngPause)) {
		return false
	}
	done := make(chan struct{})
	if !p.cfg.Tasks.Go(func(ctx context.Context) {
		defer close(done)
		p.pinAt(ctx, p.cfg.Self, api.NewCid(row.CID))
	}) {
		return false
	}
	timer := time.NewTimer(activeWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}
