package repair

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/replacement"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statewrite"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// replacedSlotTime replaces slotTime for pins that were replaced, and maxReplacedDelay
	// bounds it: they are unpinned within a minute. Two peers that do it do no harm.
	replacedSlotTime, maxReplacedDelay = 10 * time.Second, 30 * time.Second
	// replacedRetry is the time to the next attempt to unpin a pin that was replaced.
	replacedRetry = 5 * time.Second
	// maxReplacedTries bounds the pins that one call of UnpinDue tries to unpin.
	maxReplacedTries = 256
	// idleShare is how many times as long as a look at the replaced pins the next waits, and maxIdle
	// bounds it: a look in which the peer was frozen, or the state did not answer, is no measure.
	idleShare, maxIdle = 20, 10 * time.Second
)

// ReplacedConfig is what a Replaced needs. All fields are required.
type ReplacedConfig struct {
	Index   *replacement.Index
	Tracker *peerstatus.Tracker
	Syncer  *statesync.Syncer
	Writer  *statewrite.Writer
	Poller  *poll.Poller
	Self    peer.ID
	Now     func() time.Time
	// NewsTime (DefaultNewsTime) is how long after its replacement a pin that has failed is given up
	// at the soonest, and CompleteTime how long one that has not has to be complete: by default as
	// long as a write may take to have its effect, and NewsTime.
	NewsTime, CompleteTime time.Duration
}

// Replaced unpins pins that others have replaced, once those are pinned (D6). UnpinDue
// is used by one goroutine at a time.
type Replaced struct {
	cfg ReplacedConfig
	// due are all pins that were due at the last look, each after those that its record names.
	due []pinrecord.Replaced
	// next is when to try to unpin each of them.
	next map[pinrecord.Replaced]time.Time
	// cursor is where in due to go on.
	cursor int
	// resume is when to look again: a look at very many pins takes its time.
	resume   time.Time
	chains   map[pinrecord.Replaced]*link
	unpinned atomic.Uint64
}

// NewReplaced returns one that has done nothing.
func NewReplaced(cfg ReplacedConfig) *Replaced {
	if cfg.NewsTime <= 0 {
		cfg.NewsTime = DefaultNewsTime
	}
	if cfg.CompleteTime <= 0 {
		cfg.CompleteTime = cfg.Writer.Longest() + cfg.NewsTime
	}
	return &Replaced{cfg: cfg, next: make(map[pinrecord.Replaced]time.Time), chains: make(map[pinrecord.Replaced]*link)}
}

// Unpinned is how many pins this peer has unpinned.
func (r *Replaced) Unpinned() uint64 { return r.unpinned.Load() }

// UnpinDue unpins what is due and this peer's turn.
func (r *Replaced) UnpinDue(ctx context.Context) {
	if !r.cfg.Now().Before(r.resume) && r.look(ctx) != nil {
		return // The state is unavailable.
	}
	tries := 0
	for range r.due {
		if tries == maxReplacedTries || ctx.Err() != nil {
			return
		}
		pin := r.due[r.cursor]
		r.cursor = (r.cursor + 1) % len(r.due)
		if r.cfg.Now().Before(r.next[pin]) {
			continue
		}
		tries++
		r.next[pin] = r.cfg.Now().Add(replacedRetry)
		if err := r.unpin(ctx, pin); err != nil && pinsvc.KindOf(err) != pinsvc.KindForbidden && ctx.Err() == nil {
			log.Warnf("unpin %s, which was replaced: %s", pin.Key, err)
		}
	}
}

// look finds out which pins are due. The time at which it is this peer's turn runs from the first
// look at which a pin is due without a break.
func (r *Replaced) look(ctx context.Context) error {
	began := r.cfg.Now()
	if err := r.Reread(ctx); err != nil {
		return err
	}
	r.examineChains(ctx)
	r.due = r.cfg.Index.Due()
	now := r.cfg.Now()
	r.resume = now.Add(min(idleShare*now.Sub(began), maxIdle))
	next := make(map[pinrecord.Replaced]time.Time, len(r.due))
	for _, pin := range r.due {
		at, known := r.next[pin]
		if !known {
			at = now.Add(r.delay(pin.Key))
		}
		next[pin] = at
	}
	r.next = next
	if r.cursor >= len(r.due) {
		r.cursor = 0
	}
	return nil
}

// Reread reads the records of pins that the index cannot tell from replaced ones without: until then
// clients see a pin that was renamed and then replaced.
func (r *Replaced) Reread(ctx context.Context) error {
	for _, key := range r.cfg.Index.Refresh() {
		if _, _, err := r.cfg.Syncer.Get(ctx, api.NewCid(key)); err != nil {
			return err
		}
	}
	return nil
}

// delay is how long to leave a pin to peers that are closer to it.
func (r *Replaced) delay(key cid.Cid) time.Duration {
	rank := Rank(key, r.cfg.Self, r.cfg.Tracker.Members(), r.cfg.Poller.Breaker().Open)
	return min(time.Duration(rank)*replacedSlotTime, maxReplacedDelay)
}

// unpin unpins a pin if those that replaced it are confirmed to be pinned now.
func (r *Replaced) unpin(ctx context.Context, pin pinrecord.Replaced) error {
	by := r.cfg.Index.Replacing(pin)
	if len(by) == 0 {
		return nil // It was requested anew, or unpinned: there is nothing that could confirm it.
	}
	for _, key := range by {
		if confirmed, err := r.confirmed(ctx, key); !confirmed {
			return err
		}
	}
	removed, err := r.remove(ctx, pin, by, func(api.Pin) bool { return r.cfg.Index.IsDue(pin) })
	if removed {
		log.Infof("pin %s is unpinned: it was replaced by %s, which is pinned", pin.Key, by)
	}
	return err
}

// remove unpins a pin under its lock and those of others, if its record may go by what is
// read then.
func (r *Replaced) remove(ctx context.Context, pin pinrecord.Replaced, others []cid.Cid, may func(api.Pin) bool) (removed bool, err error) {
	keys := append(slices.Clip(others), pin.Key)
	unlock, err := r.cfg.Writer.Lock(ctx, keys...)
	if err != nil {
		return false, err
	}
	defer unlock()
	// Under the locks: no request of this peer changes any of them now.
	var rec api.Pin
	for _, key := range keys {
		if r.cfg.Syncer.Uncommitted().Pending(key) {
			return false, nil // Its content is not safe yet.
		}
		if rec, _, err = r.cfg.Syncer.Get(ctx, api.NewCid(key)); err != nil {
			return false, err
		}
	}
	if !may(rec) { // By what was just read.
		return false, nil
	}
	if err := r.cfg.Writer.Available(); err != nil {
		return false, err
	}
	// Another peer may add the pin anew before this is committed: that one stays.
	if deleted, err := r.cfg.Writer.DeleteVersion(ctx, rec); err != nil || !deleted {
		return false, err
	}
	r.unpinned.Add(1)
	return true, nil
}

// confirmed polls the holders of a pin and reports whether one of them has it now.
func (r *Replaced) confirmed(ctx context.Context, key cid.Cid) (bool, error) {
	rec, found, err := r.cfg.Syncer.Get(ctx, api.NewCid(key))
	if err != nil || !found {
		return false, err
	}
	return r.cfg.Poller.Record(ctx, rec), nil
}
