package clusterrpc

import (
	"math"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// settling is how long after a change of a record the trackers may still
// report on the record before it.
const settling = 5 * time.Second

// ledger enters into the view what the state says of pins and what peers say
// of them. It serves two sentences of D5: a peer that cannot be reached keeps
// its last confirmed answer, and a change of the record alone does not
// withdraw a confirmation, although it makes the trackers queue the pin again.
//
// Locks are taken in this order: the view's, then that of places or troubles.
type ledger struct {
	view     *pinset.View
	places   *places
	troubles *troubles
	extras   *extras
	now      func() time.Time
	// maxAttempts is how often a peer tries before it has given up.
	maxAttempts int
	// wiped is told of pins whose record lost our keys (D2).
	wiped func(cid.Cid)
}

// entry is the view's form of a record. Its marks say that nothing is known.
func (l *ledger) entry(rec api.Pin) pinset.Pin {
	created, ours := createdOf(rec)
	p := pinset.Pin{
		CID: rec.Cid.Cid, AskedOtherForm: !askedCID(rec).Equals(rec.Cid.Cid),
		Name: rec.Name, Meta: clientMeta(rec), Created: created, Stamped: ours,
		Status:    pinsvc.StatusQueued,
		Placement: l.places.of(rec),
	}
	if len(rec.Origins) > 0 {
		p.Origins = 1 // Of which the record tells more.
	}
	if !rec.ExpireAt.IsZero() {
		p.ExpiresAt = uint32(min(max(rec.ExpireAt.Unix(), 1), math.MaxUint32))
	}
	p.Written = uint32(min(max(rec.Timestamp.Unix(), 0), math.MaxUint32))
	return p
}

// enter puts the record of a visible pin into the view. again says that the
// record is known to have been written since the last time; when it is not,
// its time says so.
func (l *ledger) enter(rec api.Pin, again bool) {
	key := rec.Cid.Cid
	wiped := false
	l.extras.drop(key)
	l.view.Upsert(l.entry(rec), func(old, fresh *pinset.Mutable) {
		if old == nil {
			l.places.judge(fresh)
			return
		}
		if wiped = old.Stamped && !fresh.Stamped; wiped {
			fresh.Created, fresh.Stamped, fresh.AskedOtherForm = old.Created, true, old.AskedOtherForm
		}
		if old.Created != fresh.Created {
			// Another pin of the same content: it is unconfirmed.
			l.troubles.forget(key)
			l.places.judge(fresh)
			return
		}
		fresh.Vector = old.Vector
		if old.Placement != fresh.Placement {
			fresh.Vector = l.places.moved(old.Placement, old.Vector, fresh.Placement)
		}
		if again || fresh.Written > old.Written {
			fresh.Vector = l.places.rewritten(fresh.Vector)
			l.troubles.anew(key)
		}
		l.places.judge(fresh)
	})
	if wiped {
		l.wiped(key)
	}
}

// drop takes a pin out of the view.
func (l *ledger) drop(key cid.Cid) {
	l.extras.drop(key)
	if l.view.Remove(key) {
		l.troubles.forget(key)
	}
}

// afterRewrite is what is left of a standing when the record is written again:
// a re-add starts the tries anew.
func afterRewrite(s standing) standing {
	switch s {
	case standingHolds:
		return standingRewritten
	case standingTrying, standingGaveUp:
		return standingQueued
	default:
		return s
	}
}

// heard enters what a peer said of a pin. Peers that should not hold it do not
// count.
func (l *ledger) heard(p peer.ID, key cid.Cid, a answer) {
	l.view.Update(key, func(m *pinset.Mutable) bool {
		was, counts := l.places.look(m.Placement, m.Vector, p)
		if !counts || l.places.kind(m.Placement) == placedInParts {
			return false
		}
		now := l.next(was, *m, key, l.places.numberOf(p), a)
		if now == was {
			return false
		}
		m.Vector = l.places.with(m.Placement, m.Vector, p, now)
		l.places.judge(m)
		return true
	})
}

// heardOfRoot enters what the parts of a sharded root make together.
func (l *ledger) heardOfRoot(key cid.Cid, status pinsvc.Status, reason string) {
	l.view.Update(key, func(m *pinset.Mutable) bool {
		if l.places.kind(m.Placement) != placedInParts {
			return false
		}
		if status == pinsvc.StatusFailed {
			l.troubles.set(key, reason)
		} else {
			l.troubles.forget(key)
		}
		m.Vector = l.places.with(m.Placement, m.Vector, "", rootStanding(status))
		l.places.judge(m)
		return true
	})
}

// next is the standing of a peer after an answer, and what it leaves to be
// told and done is entered into troubles.
func (l *ledger) next(was standing, m pinset.Mutable, key cid.Cid, peer int, a answer) standing {
	if l.early(m, a) {
		// It speaks of an earlier pin of this content.
		return max(was, standingQueued)
	}
	recent := l.now().Sub(time.Unix(int64(m.Written), 0)) < settling
	switch said := a.standing(); said {
	case standingHolds:
		l.troubles.over(key, peer)
		if was == standingRewritten && recent {
			return was // Its tracker may yet queue the pin.
		}
		return standingHolds
	case standingQueued, standingWorking:
		return l.nextAtWork(was, m, key, peer, a)
	case standingLost:
		if recent && (was == standingUnknown || was == standingQueued) {
			// The state has the pin and the tracker will hear of it any
			// moment.
			return standingQueued
		}
		l.troubles.lost(key, peer)
		return standingLost
	case standingWaits:
		l.troubles.waits(key, peer, a)
		if was == standingHolds || was == standingRewritten {
			return was
		}
		return standingWaits
	case standingTrying:
		if l.beforeRewrite(was, m, key, peer, a) {
			l.troubles.discount(key, peer, a)
			return max(was, standingQueued)
		}
		if l.troubles.failed(key, peer, a, l.maxAttempts) || was == standingGaveUp {
			return standingGaveUp
		}
		return standingTrying
	default:
		return was
	}
}

// beforeRewrite reports whether a failure is one from before the record was
// last written, which the peer has not heard of yet.
func (l *ledger) beforeRewrite(was standing, m pinset.Mutable, key cid.Cid, peer int, a answer) bool {
	switch was {
	case standingUnknown, standingQueued, standingRewritten:
		return a.written > 0 && a.written < int64(m.Written) || l.troubles.old(key, peer, a)
	default:
		return false
	}
}

// nextAtWork is next for a peer that is at work on the pin, or has not heard
// of it.
func (l *ledger) nextAtWork(was standing, m pinset.Mutable, key cid.Cid, peer int, a answer) standing {
	switch was {
	case standingGaveUp, standingTrying:
		return was // The next try is under way.
	case standingLost, standingRewritten:
		if a.atWork() {
			return was
		}
	case standingHolds:
		if !a.atWork() {
			break
		}
		if a.written > 0 && a.written != int64(m.Written) {
			return standingRewritten
		}
		// What a peer fetches for the record that it held the content for
		// was lost.
		l.troubles.lost(key, peer)
		return standingLost
	case standingWaits:
		l.troubles.over(key, peer)
	}
	return a.standing()
}

// early reports whether an answer speaks of a record from before the pin was
// made. The clocks of the peers that wrote the records may differ from that of
// the creation time, so the record in the view counts as well.
func (l *ledger) early(m pinset.Mutable, a answer) bool {
	made := m.Created / 1000
	return a.written > 0 && a.written < min(made, int64(m.Written))
}

// rejudge makes all statuses again, as the members changed.
func (l *ledger) rejudge() {
	l.view.UpdateAll(func(_ string, m *pinset.Mutable) bool {
		was := m.Status
		l.places.judge(m)
		return m.Status != was
	})
}
