package clusterrpc

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// settling is how long after a change of a record the trackers may still
// report on the record before it.
const settling = 5 * time.Second

// book remembers the last answer of each peer about each pin, for the pins
// asked about most recently. It serves two sentences of D5: a peer that
// cannot be reached keeps its last confirmed answer, and a change of the
// record alone does not withdraw a confirmation, although it makes the
// trackers queue the pin again.
type book struct {
	now func() time.Time

	mu      sync.Mutex
	entries *simplelru.LRU[bookKey, bookEntry]
}

type bookKey struct {
	pin  cid.Cid
	peer peer.ID
}

type bookEntry struct {
	report report
	// created is the pin's; a pin that was removed and made again has
	// another one, and what was said of the first does not hold for it.
	created time.Time
	// record is the second in which the record was written that the peer
	// had when it said so.
	record int64
	// rewritten is when this peer last changed nothing but the record. What
	// the trackers do about it is no news of the content.
	rewritten time.Time
}

func newBook(now func() time.Time, size int) *book {
	entries, err := simplelru.NewLRU[bookKey, bookEntry](size, nil)
	if err != nil {
		panic(err) // Options gave it a positive size.
	}
	return &book{now: now, entries: entries}
}

// heard enters what a peer's tracker says of a pin and returns what is to be
// made of it; retry says that the peer should be asked to try again, because
// its IPFS node lost the content or was away.
func (b *book) heard(rec api.Pin, p peer.ID, info api.PinInfo) (r report, retry bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := bookKey{rec.Cid.Cid, p}
	last, known := b.recall(key, rec)
	held := known && last.report.standing == standingHolds
	r = reportOf(info)
	switch {
	case r.standing == standingUnknown:
		return last.report, false
	case r.standing == standingWaits && held:
		return last.report, true
	case r.standing == standingLost && !known && b.now().Sub(rec.Timestamp) < settling:
		// The state has the pin and the tracker will hear of it any moment.
		return report{standing: standingQueued}, false
	case held && retracked(last, rec, info):
		return last.report, false
	}
	entry := bookEntry{report: r, record: info.Created.Unix()}
	entry.created, _ = createdOf(rec)
	if held && b.now().Sub(last.rewritten) < settling {
		entry.rewritten = last.rewritten
	}
	b.entries.Add(key, entry)
	return r, r.standing == standingLost || r.standing == standingWaits
}

// retracked reports whether a tracker is at work on a pin that its peer holds
// only because the record changed. A pin that is worked on for the record
// that it was confirmed with was lost.
func retracked(last bookEntry, rec api.Pin, info api.PinInfo) bool {
	switch info.Status {
	case api.TrackerStatusPinQueued, api.TrackerStatusPinning:
	default:
		return false
	}
	if !last.rewritten.IsZero() {
		return true
	}
	// For pins of other tools, which have no creation time of their own, a
	// newer record may as well be a new pin.
	_, ours := createdOf(rec)
	return ours && info.Created.Unix() != last.record
}

// recalled returns the last answer of a peer that cannot be asked now.
func (b *book) recalled(rec api.Pin, p peer.ID) report {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, _ := b.recall(bookKey{rec.Cid.Cid, p}, rec)
	return last.report
}

// recall needs the lock.
func (b *book) recall(key bookKey, rec api.Pin) (bookEntry, bool) {
	last, ok := b.entries.Get(key)
	if !ok {
		return bookEntry{}, false
	}
	if created, _ := createdOf(rec); !created.Equal(last.created) {
		b.entries.Remove(key)
		return bookEntry{}, false
	}
	return last, true
}

// changed tells that this peer wrote a record of a pin that the peers keep,
// which they will track again. Failures do not outlive it: a re-add starts
// the tries anew.
func (b *book) changed(rec api.Pin, peers []peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range peers {
		key := bookKey{rec.Cid.Cid, p}
		last, ok := b.entries.Get(key)
		switch {
		case !ok:
		case last.report.standing == standingHolds:
			last.rewritten = b.now()
			last.created, _ = createdOf(rec)
			b.entries.Add(key, last)
		default:
			b.entries.Remove(key)
		}
	}
}
