package peerstatus

import (
	"math"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Config is what a Tracker needs. All fields but OnMetadataLost and PinTimeout
// are required.
type Config struct {
	View *pinset.View
	Now  func() time.Time
	// Clock observes the creation times of all records.
	Clock *pinrecord.Clock
	// MaxAttempts is how many attempts a peer makes before it has failed.
	MaxAttempts int
	// RetryDelay is the time to the second attempt; it doubles with each
	// further one, up to 5 min.
	RetryDelay time.Duration
	// PinTimeout is the configured pin_timeout, for texts; zero: not known.
	PinTimeout time.Duration
	// MembersStay says that a member that is away stays one, as under Raft: who is none any more was
	// removed from the cluster, with its copies.
	MembersStay bool
	// OnMetadataLost is called with the key of a pin whose record lost the
	// reserved metadata (D2).
	OnMetadataLost func(cid.Cid)
}

// Tracker reduces records and reports to one status for each pin, and keeps it in
// the view. Two rules of D5 need its memory: a peer that does not report keeps its
// last confirmed state, and a change of the record alone does not withdraw a
// confirmation, although it makes the trackers queue the pin again.
type Tracker struct {
	cfg        Config
	view       *pinset.View
	placements *Placements
	failures   *failureTable
	rewrites   *rewrites
}

// NewTracker returns a tracker over a view that nobody else changes.
func NewTracker(cfg Config) *Tracker {
	if cfg.OnMetadataLost == nil {
		cfg.OnMetadataLost = func(cid.Cid) {}
	}
	t := &Tracker{
		cfg: cfg, view: cfg.View, placements: newPlacements(),
		failures: newFailureTable(cfg.Now, cfg.RetryDelay), rewrites: newRewrites(),
	}
	t.placements.members.stay = cfg.MembersStay
	return t
}

// Row is the view's form of a record, without any report.
func (t *Tracker) Row(rec api.Pin) pinset.Pin {
	created, ours := pinrecord.CreatedOf(rec)
	row := pinset.Pin{
		CID: rec.Cid.Cid, OtherFormRequested: !pinrecord.RequestedCID(rec).Equals(rec.Cid.Cid),
		Name: rec.Name, Meta: pinrecord.ClientMeta(rec), Created: created, Stamped: ours,
		Status: pinsvc.StatusQueued, Direct: pinrecord.Direct(rec), Revised: pinrecord.Revised(rec),
		Revision: uint16(pinrecord.RevisionOf(rec)), Sharded: rec.Type == api.MetaType,
		Placement: t.placements.of(rec), Written: unixSecond(rec.Timestamp),
	}
	if !rec.ExpireAt.IsZero() {
		row.ExpiresAt = max(unixSecond(rec.ExpireAt), 1)
	}
	return row
}

// unixSecond is a time as the view keeps it: good until the year 2106.
func unixSecond(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}

// PutRecord enters the record of a visible pin. rewritten reports that the record
// is known to have been written since it was last entered; otherwise its
// timestamp and its revision decide.
func (t *Tracker) PutRecord(rec api.Pin, rewritten bool) { t.PutInPlaceOf(rec, rewritten, nil) }

// PutInPlaceOf is PutRecord, and DeleteRecord of other pins in the same step: no reader
// of the view sees the one without the other.
func (t *Tracker) PutInPlaceOf(rec api.Pin, rewritten bool, others []cid.Cid) {
	key := rec.Cid.Cid
	metadataLost := false
	row := t.Row(rec)
	t.ObserveTimes(rec, row)
	t.view.UpsertInPlaceOf(row, func(old, fresh *pinset.Mutable) {
		fresh.Origins = t.placements.internOrigins(rec.Origins)
		if old != nil {
			metadataLost = t.carryOver(key, old, fresh, rewritten)
		}
		t.refreshStatus(fresh)
	}, others)
	for _, other := range others {
		t.failures.forget(other)
	}
	if metadataLost {
		t.cfg.OnMetadataLost(key)
	}
}

// ObserveTimes lets the clock follow the times of a record, also of one that is not to be
// in the view. row is that of the record.
func (t *Tracker) ObserveTimes(rec api.Pin, row pinset.Pin) {
	t.cfg.Clock.Observe(row.Created)
	if row.Revised {
		t.cfg.Clock.Observe(time.UnixMilli(pinrecord.RevisionOf(rec)))
	}
}

// carryOver keeps what holds on of an earlier record of the same pin.
func (t *Tracker) carryOver(key cid.Cid, old, fresh *pinset.Mutable, rewritten bool) (metadataLost bool) {
	if metadataLost = old.Stamped && !fresh.Stamped; metadataLost {
		fresh.Created, fresh.Stamped, fresh.OtherFormRequested = old.Created, true, old.OtherFormRequested
		fresh.Revised = true // The tool's write is a revision of its own.
	}
	if old.Created != fresh.Created || old.Direct && !fresh.Direct {
		// Another pin of the same content, or one of all its children now:
		// nothing is confirmed.
		t.failures.restart(key)
		return metadataLost
	}
	fresh.Vector = old.Vector
	if old.Placement != fresh.Placement {
		fresh.Vector = t.placements.movedTo(old.Placement, old.Vector, fresh.Placement)
	}
	// The clocks of the peers that wrote the two records may differ, so that an
	// earlier time is a change as well, and two requests may be of the same second.
	if rewritten || fresh.Written != old.Written || fresh.Revision != old.Revision {
		t.rewrites.add(key, t.cfg.Now())
		fresh.Vector = t.placements.rewritten(fresh.Vector)
		t.failures.restart(key)
	}
	return metadataLost
}

// DeleteRecord takes a pin out of the view.
func (t *Tracker) DeleteRecord(key cid.Cid) {
	if t.view.Remove(key) {
		t.failures.forget(key)
	}
}

// Observe enters the report of a peer. Peers that should not hold the pin do not
// count.
func (t *Tracker) Observe(p peer.ID, key cid.Cid, r Report) {
	t.view.Update(key, func(m *pinset.Mutable) bool { return t.observe(p, key, m, func() (Report, bool) { return r, true }) })
}

// ObserveAll is Observe for all pins that a peer should hold. report returns what the peer
// reports on a pin, false: nothing. It runs under the lock of the view and must not call it.
func (t *Tracker) ObserveAll(p peer.ID, report func(key cid.Cid, m pinset.Mutable) (r Report, ok bool)) {
	t.view.UpdateAll(func(text string, m *pinset.Mutable) bool {
		key, err := cid.Cast([]byte(text))
		if err != nil {
			return false
		}
		return t.observe(p, key, m, func() (Report, bool) { return report(key, *m) })
	})
}

// observe changes a row by a report and reports whether it did.
func (t *Tracker) observe(p peer.ID, key cid.Cid, m *pinset.Mutable, report func() (Report, bool)) bool {
	old, counts := t.placements.state(m.Placement, m.Vector, p)
	if !counts || t.placements.kind(m.Placement) == sharded {
		return false
	}
	r, ok := report()
	if !ok {
		return false
	}
	next := t.nextState(old, *m, key, t.placements.numberOf(p), r)
	if next == old {
		return false
	}
	m.Vector = t.placements.withState(m.Placement, m.Vector, p, next)
	t.refreshStatus(m)
	return true
}

// ObserveRoot enters the status of all shards of a sharded root together. reason
// is shown when the status is failed.
func (t *Tracker) ObserveRoot(key cid.Cid, status pinsvc.Status, reason string) {
	t.view.Update(key, func(m *pinset.Mutable) bool {
		if t.placements.kind(m.Placement) != sharded {
			return false
		}
		if status == pinsvc.StatusFailed {
			t.failures.shardFailed(key, reason)
		} else {
			t.failures.forget(key)
		}
		m.Vector = t.placements.withState(m.Placement, m.Vector, "", rootState(status))
		t.refreshStatus(m)
		return true
	})
}

// refreshStatus makes the status of a pin of its placement and vector.
func (t *Tracker) refreshStatus(m *pinset.Mutable) {
	t.placements.mu.RLock()
	defer t.placements.mu.RUnlock()
	m.Status = t.placements.summarize(m.Placement, m.Vector).Status
}

// SetMembers enters who the members of the cluster are and makes all statuses
// again when that changes them.
func (t *Tracker) SetMembers(members []peer.ID) (changed bool) {
	members = slices.Clone(members)
	slices.Sort(members)
	if !t.placements.setMembers(slices.Compact(members), t.cfg.Now()) {
		return false
	}
	t.view.UpdateAll(func(_ string, m *pinset.Mutable) bool {
		old := m.Status
		t.refreshStatus(m)
		return m.Status != old
	})
	return true
}

// Compact reclaims memory of states and origins that no pin has any more.
func (t *Tracker) Compact() { t.placements.compact(t.view) }
