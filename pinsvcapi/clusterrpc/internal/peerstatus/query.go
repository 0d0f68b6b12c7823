package peerstatus

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Members are the members of the cluster, in the order of their IDs.
func (t *Tracker) Members() []peer.ID { return t.placements.memberIDs() }

// PlacementOf is the number of the placement of a record.
func (t *Tracker) PlacementOf(rec api.Pin) uint32 { return t.placements.of(rec) }

// Holders are the peers that should hold pins of a placement, and how many of them
// make a pin pinned. There are none for sharded roots.
func (t *Tracker) Holders(placement uint32) (ids []peer.ID, required int) {
	return t.placements.holders(placement)
}

// Sharded reports whether pins of a placement are sharded roots.
func (t *Tracker) Sharded(placement uint32) bool { return t.placements.kind(placement) == sharded }

// AnySharded reports whether the view ever had a sharded root.
func (t *Tracker) AnySharded() bool { return t.placements.hasSharded() }

// Observed reports whether any peer that should hold a pin has reported on it.
func (t *Tracker) Observed(placement, vector uint32) bool {
	return t.placements.observed(placement, vector)
}

// PeerState returns the state of a pin at a peer; counts reports whether the peer
// should hold it.
func (t *Tracker) PeerState(m pinset.Mutable, p peer.ID) (st State, counts bool) {
	return t.placements.state(m.Placement, m.Vector, p)
}

// Summary is the status of pins with a placement and a vector.
func (t *Tracker) Summary(placement, vector uint32) *Summary {
	return t.placements.summary(placement, vector)
}

// OriginSet returns the set with a number of the view, nil for 0.
func (t *Tracker) OriginSet(number uint32) *OriginSet { return t.placements.originSet(number) }

// Details describe what is wrong with a pin: the worst failure, and the number of
// attempts. For a pinned pin only the attempts are returned.
func (t *Tracker) Details(key cid.Cid, status pinsvc.Status) (text string, attempts int) {
	failures := t.failures.of(key)
	if len(failures) == 0 {
		return "", 0
	}
	m, found := t.view.Lookup(key)
	if !found {
		return "", 0
	}
	var worst State
	for _, f := range failures {
		if _, counts := t.PeerState(m, t.placements.id(f.peer)); !counts {
			continue
		}
		if f.state == Retrying || f.state == Failed {
			// The cluster tries now and then after the last attempt, too.
			attempts = max(attempts, min(f.counted(), t.cfg.MaxAttempts))
		}
		if f.state > worst && status != pinsvc.StatusPinned {
			worst, text = f.state, f.describe(t.cfg.Now(), t.cfg.MaxAttempts, t.cfg.PinTimeout)
		}
	}
	return text, attempts
}

// FailurePins is the number of pins with a failure at some peer.
func (t *Tracker) FailurePins() int { return t.failures.len() }

// Retry is a pin for which a retry is to be requested from a peer.
type Retry struct {
	Key cid.Cid
	// Peer receives the request; its State is Lost, Waiting or Retrying. For Failed it
	// is only to be polled: it tries again by itself.
	Peer  peer.ID
	State State
	// Holders are all peers that should hold the pin. The one closest to the pin
	// sends the request.
	Holders []peer.ID
	// Yielded: the closer peers had their time already.
	Yielded bool

	number int
}

// DueRetries returns at most limit retries whose time has come. Failures that are
// over are dropped on the way.
func (t *Tracker) DueRetries(limit int) []Retry {
	var retries []Retry
	for _, due := range t.failures.due(limit) {
		retry := Retry{Key: due.key, Peer: t.placements.id(due.peer), Yielded: due.yielded, number: due.peer}
		m, found := t.view.Lookup(due.key)
		counts := false
		if found {
			retry.State, counts = t.PeerState(m, retry.Peer)
			retry.Holders, _ = t.placements.holders(m.Placement)
		}
		switch retry.State {
		case Pinned, Rewritten:
			retry.State = Waiting // The IPFS node is unavailable, or was.
		case Lost, Waiting, Retrying, Failed:
		default:
			counts = false
		}
		if !counts {
			t.failures.resolved(due.key, due.peer)
			continue
		}
		retries = append(retries, retry)
	}
	return retries
}

// RetrySent notes that the retry was requested; the delay grows each time.
func (t *Tracker) RetrySent(r Retry) { t.failures.reschedule(r.Key, r.number, true, 0) }

// RetryDeferred puts a retry off.
func (t *Tracker) RetryDeferred(r Retry, delay time.Duration) {
	t.failures.reschedule(r.Key, r.number, false, delay)
}

// Keys calls each with the binary key of every pin. Others may be put in and taken
// out meanwhile.
func (t *Tracker) Keys(each func(key string)) {
	t.view.All(func(key string, _ pinset.Mutable) { each(key) })
}

// CacheSizes are the numbers of entries of the caches and interners, by name.
func (t *Tracker) CacheSizes() map[string]int { return t.placements.sizes() }
