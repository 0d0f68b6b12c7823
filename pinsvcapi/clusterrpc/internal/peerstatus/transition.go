package peerstatus

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// trackerLag is how long after a change of a record the trackers may still report
// on the record before it.
const trackerLag = 5 * time.Second

// nextState is the transition function: it returns the peer's state after a
// report, and records any failure to be shown and retried.
func (t *Tracker) nextState(old State, m pinset.Mutable, key cid.Cid, peer int, r Report) State {
	if predatesPin(m, r) {
		return max(old, Queued)
	}
	now := t.cfg.Now()
	fresh := now.Sub(time.Unix(int64(m.Written), 0)).Abs() < trackerLag || t.rewrites.fresh(key, now)
	switch r.state() {
	case Pinned:
		if old != Pinned && old != Rewritten && (0 < r.RecordTime && r.RecordTime < int64(m.Written) || ofAnotherPin(m, key, r)) {
			// Of the record before: a direct pin, perhaps, of what is recursive now, or a pin whose
			// removal the peer has not seen yet and that it is about to unpin.
			return max(old, Queued)
		}
		t.failures.resolved(key, peer)
		if old == Rewritten && fresh {
			return old // The tracker may still queue the pin.
		}
		return Pinned
	case Queued, Pinning:
		return t.nextActive(old, m, key, peer, r, fresh)
	case Lost:
		return t.nextLost(old, key, peer, fresh)
	case Waiting:
		if old == Failed {
			return old // It ends with a success or another record only.
		}
		t.failures.cannotTry(key, peer, r)
		if old == Pinned || old == Rewritten {
			return old
		}
		return Waiting
	case Retrying:
		if ofAnotherPin(m, key, r) {
			return max(old, Queued) // It is no attempt at this one, whose attempts are counted from one again.
		}
		if t.failurePredatesRewrite(old, m, key, peer, r) {
			return t.discounted(old, key, peer, r)
		}
		if t.failures.attemptFailed(key, peer, r, t.cfg.MaxAttempts) || old == Failed {
			return Failed
		}
		return Retrying
	default:
		return old
	}
}

// nextLost is nextState for a peer whose IPFS node does not have the content. The
// content is Lost only if the peer had confirmed it.
func (t *Tracker) nextLost(old State, key cid.Cid, peer int, fresh bool) State {
	switch old {
	case Unknown, Queued:
		if fresh {
			return Queued // The tracker is about to see the record.
		}
	case Retrying, Failed:
		return old // No attempt has had the content yet.
	}
	t.failures.contentLost(key, peer, old == Pinned || old == Rewritten)
	return Lost
}

// nextActive is nextState for a peer that is at work on the pin, or has not seen
// the record yet.
func (t *Tracker) nextActive(old State, m pinset.Mutable, key cid.Cid, peer int, r Report, fresh bool) State {
	switch old {
	case Failed:
		return old
	case Retrying:
		if r.active() {
			t.failures.attemptBegun(key, peer)
		}
		return old
	case Lost, Rewritten:
		if r.active() {
			return old
		}
	case Pinned:
		if !r.active() {
			break
		}
		// Records have whole seconds: the tracker may be at work on one that was
		// written in the same second and is not in the view yet.
		if fresh || r.RecordTime > 0 && r.RecordTime != int64(m.Written) {
			return Rewritten
		}
		// A peer that fetches the content for the record for which it had
		// confirmed it has lost it.
		t.failures.contentLost(key, peer, true)
		return Lost
	case Waiting:
		t.failures.resumed(key, peer)
	}
	return r.state()
}

// failurePredatesRewrite reports whether a failure is one from before the record was last
// written: the peer has not seen the record yet, or the report is late. The clocks of the peers
// that wrote the two records may differ, so a failure of a later one does not count either; if
// the record is new indeed, it comes to this peer, and the next report counts.
func (t *Tracker) failurePredatesRewrite(old State, m pinset.Mutable, key cid.Cid, peer int, r Report) bool {
	switch {
	case r.RecordTime > 0 && r.RecordTime != int64(m.Written):
		return true
	case r.Revised: // Two requests may be of the same second.
		return r.Revision != m.Revision
	}
	switch old {
	case Unknown, Queued, Pinning, Rewritten:
		return t.failures.predates(key, peer, r)
	default:
		return false
	}
}

// discounted is the state after a failure that does not count.
func (t *Tracker) discounted(old State, key cid.Cid, peer int, r Report) State {
	switch old {
	case Unknown, Queued, Rewritten:
		t.failures.discount(key, peer, r)
		return max(old, Queued)
	default:
		return old // What is known is newer.
	}
}

// predatesPin reports whether a report is about a record from before the pin was
// made. The clocks of the peers that wrote the records may differ from that of the
// creation time, so the record in the view counts as well.
func predatesPin(m pinset.Mutable, r Report) bool {
	return r.RecordTime > 0 && r.RecordTime < min(m.Created/1000, int64(m.Written))
}

// ofAnotherPin reports whether a report is about another pin of the same content, which was deleted
// before this one was made, or is newer, whatever the clocks of the peers that wrote the records.
func ofAnotherPin(m pinset.Mutable, key cid.Cid, r Report) bool {
	if !m.Stamped || r.Stamp == "" {
		return false
	}
	made, ok := pinrecord.ReadStamp(api.NewCid(key), r.Stamp)
	return ok && made.UnixMilli() != m.Created
}

// Confirms reports whether a report says that the peer has a pin now, and that pin is the one that
// the view has, if it has one.
func (t *Tracker) Confirms(key cid.Cid, r Report) bool {
	if r.Status != api.TrackerStatusPinned {
		return false
	}
	m, found := t.view.Lookup(key)
	return !found || !ofAnotherPin(m, key, r)
}

// Confirms reports whether a report says that the peer has the pin of a record.
func Confirms(rec api.Pin, r Report) bool {
	created, ours := pinrecord.CreatedOf(rec)
	return r.Status == api.TrackerStatusPinned && !ofAnotherPin(pinset.Mutable{Stamped: ours, Created: created.UnixMilli()}, rec.Cid.Cid, r)
}
