package pinset

import (
	"errors"
	"sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// ErrTooOld is returned by Since when the journal does not hold all changes
// after the sequence number: the reader must list the pins again.
var ErrTooOld = errors.New("the journal no longer holds these changes")

// ChangeKind is the kind of a Change.
type ChangeKind uint8

// The kinds of changes.
const (
	Added ChangeKind = iota + 1
	Updated
	Removed
)

// String is the kind as one word in lower case.
func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Updated:
		return "updated"
	case Removed:
		return "removed"
	default:
		return "undefined"
	}
}

// Change is one change of one row. It does not hold the new row: a reader that
// needs more than the statuses reads the row from the view, which may have
// changed again by then.
type Change struct {
	// Seq numbers the changes of a view without gaps.
	Seq uint64
	// Key is the binary form of the CID.
	Key  string
	Kind ChangeKind
	// Old is zero for Added, New is zero for Removed. They are equal when
	// something other than the status changed.
	Old, New pinsvc.Status
	// Created is in Unix milliseconds; for Removed that of the removed row.
	Created int64
}

// journalSize is how many changes a view remembers. With CIDs of the usual
// length the journal of a busy view takes 1.5 MiB, that of a view which never
// changes nothing.
const journalSize = 1 << 14

// journal is a bounded ring of the latest changes. It has its own lock, so
// that readers never wait for a page or a scan. Writers append under the lock
// of the view; the order of the locks is view, journal.
type journal struct {
	mu   sync.Mutex
	size int
	// ring grows to size entries, then entry seq is at (seq-first)%size.
	ring []journalEntry
	// last is the latest sequence number, start the one before the first
	// change since the view was filled.
	last, start uint64
	// wake is closed at the next change; nil while nobody waits.
	wake chan struct{}
	// closed is a closed channel, for readers that need not wait.
	closed chan struct{}
}

// journalEntry is a Change in memory that is used again, so that a change
// allocates nothing once the ring is full. An owner of the row would go here
// and into Change.
type journalEntry struct {
	key      []byte
	created  int64
	kind     ChangeKind
	old, new pinsvc.Status
}

// maxKeptKey bounds the memory of a key that an entry keeps for the next one.
const maxKeptKey = 256

func newJournal(size int) *journal {
	closed := make(chan struct{})
	close(closed)
	return &journal{size: size, closed: closed}
}

// append adds a change; its Seq is ignored. The key is copied, because a part
// of a slab's string would keep the whole string in memory.
func (j *journal) append(c Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	if len(j.ring) < j.size {
		j.ring = append(j.ring, journalEntry{})
	}
	e := j.at(j.last)
	if cap(e.key) > maxKeptKey {
		e.key = nil
	}
	e.key = append(e.key[:0], c.Key...)
	e.created, e.kind, e.old, e.new = c.Created, c.Kind, c.Old, c.New
	j.notify()
}

// restart begins anew: readers of everything before must list again.
func (j *journal) restart() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.start, j.ring = j.last, nil
	j.notify()
}

// at returns the entry of a sequence number after start.
func (j *journal) at(seq uint64) *journalEntry {
	return &j.ring[(seq-j.start-1)%uint64(j.size)]
}

// notify wakes the waiting readers. It needs the lock.
func (j *journal) notify() {
	if j.wake != nil {
		close(j.wake)
		j.wake = nil
	}
}

// Seq is the number of the latest change. A reader takes it first and lists
// the pins then: the list has every change up to it and maybe later ones, so
// that a change may be applied twice, and none is lost.
//
// The numbers are those of one View and begin again with the next.
func (v *View) Seq() uint64 {
	v.journal.mu.Lock()
	defer v.journal.mu.Unlock()
	return v.journal.last
}

// Since returns the oldest changes after seq, at most max. It fails with
// ErrTooOld when some of them are forgotten, when the view was filled after
// seq (see NewLoading), and for a number that the view has not reached.
func (v *View) Since(seq uint64, max int) (changes []Change, err error) {
	j := v.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq > j.last || seq < j.last-uint64(len(j.ring)) {
		return nil, ErrTooOld
	}
	n := min(int(j.last-seq), max)
	if n <= 0 {
		return nil, nil
	}
	changes = make([]Change, n)
	for i := range changes {
		seq++
		e := j.at(seq)
		changes[i] = Change{
			Seq: seq, Key: string(e.key), Kind: e.kind, Old: e.old, New: e.new, Created: e.created,
		}
	}
	return changes, nil
}

// Changed returns a channel that is closed as soon as Since(seq, 1) has
// something to return, ErrTooOld included.
func (v *View) Changed(seq uint64) <-chan struct{} {
	j := v.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq != j.last {
		return j.closed
	}
	if j.wake == nil {
		j.wake = make(chan struct{})
	}
	return j.wake
}
