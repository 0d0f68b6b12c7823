package statesync

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
)

// Event announces a change of the shared state. It may be wrong, early or missing:
// the receiver reads the state.
type Event struct {
	CID cid.Cid
	// Form is the hash of the new record (FNV-1a, 64 bits, of its ProtoMarshal);
	// zero if the pin was removed.
	Form    uint64
	Removed bool
}

// maxEvents bounds the events that wait. When there are more, the whole state is
// read instead.
const maxEvents = 1 << 17

// rereadDelays are the delays after which a pin is read again whose state does not
// show what an event announced: an event may come before its commit. The last
// delay is for large commits on slow disks; what is not there then was overtaken.
var rereadDelays = [...]time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second, SlowCommit}

// failedPause is the time between two tries to read what could not be read. One event is tried
// for all of them, and when it is read the next follows at once.
const failedPause = 200 * time.Millisecond

// eventQueue has the pins that are to be read, each once. It is safe for concurrent
// use.
type eventQueue struct {
	now  func() time.Time
	wake chan struct{}

	mu      sync.Mutex
	waiting map[cid.Cid]Event
	order   []cid.Cid
	// reading is the pin of waiting or failed that was taken last, until the next is.
	reading cid.Cid
	// failed are the events whose pins could not be read, failedOrder their order, and failedDue is
	// when to try the next.
	failed      map[cid.Cid]Event
	failedOrder []cid.Cid
	failedDue   time.Time
	// delayed are the events to be read again, one list for each of
	// rereadDelays, each in the order of time.
	delayed    [len(rereadDelays)][]delayedEvent
	overflowed bool
	overflows  atomic.Uint64
}

type delayedEvent struct {
	Event
	due time.Time
}

func newEventQueue(now func() time.Time) *eventQueue {
	return &eventQueue{
		now: now, wake: make(chan struct{}, 1), waiting: make(map[cid.Cid]Event), failed: make(map[cid.Cid]Event),
	}
}

// add never blocks. Of two events of one pin the later one counts.
func (q *eventQueue) add(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.waiting[e.CID]; !ok {
		if len(q.waiting) >= maxEvents {
			q.overflow()
			return
		}
		q.order = append(q.order, e.CID)
	}
	q.waiting[e.CID] = e
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// has reports whether the first read for an event of a pin has not succeeded yet, or events were lost.
func (q *eventQueue) has(key cid.Cid) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, waits := q.waiting[key]
	_, failed := q.failed[key]
	return waits || failed || q.reading == key || q.overflowed
}

// overflow needs the lock.
func (q *eventQueue) overflow() {
	q.overflowed = true
	q.overflows.Add(1)
}

// take returns an event that is due and how often it was read already, or how long
// none is due. The caller has read the one before.
func (q *eventQueue) take() (e Event, reads int, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() {
		if q.reading = cid.Undef; wait == 0 && reads == 0 {
			q.reading = e.CID
		}
	}()
	if len(q.order) > 0 {
		e = q.waiting[q.order[0]]
		delete(q.waiting, q.order[0])
		if q.order = q.order[1:]; len(q.order) == 0 {
			q.order = nil
		}
		return e, 0, 0
	}
	wait = time.Hour
	now := q.now()
	if len(q.failedOrder) > 0 {
		if due := q.failedDue.Sub(now); due > 0 {
			wait = due
		} else {
			return q.takeFailed(), 0, 0
		}
	}
	for i, list := range q.delayed {
		if len(list) == 0 {
			continue
		}
		if due := list[0].due.Sub(now); due > 0 {
			wait = min(wait, due)
			continue
		}
		if q.delayed[i] = list[1:]; len(list) == 1 {
			q.delayed[i] = nil
		}
		return list[0].Event, i + 1, 0
	}
	return Event{}, 0, wait
}

// takeFailed needs the lock.
func (q *eventQueue) takeFailed() Event {
	key := q.failedOrder[0]
	if q.failedOrder = q.failedOrder[1:]; len(q.failedOrder) == 0 {
		q.failedOrder = nil
	}
	e := q.failed[key]
	delete(q.failed, key)
	return e
}

// readFailed has the pin of an event read again until that succeeds. How long it fails says
// nothing about the event, as on a disk that is full.
func (q *eventQueue) readFailed(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := q.now(); !q.failedDue.After(now) {
		q.failedDue = now.Add(failedPause)
	}
	if _, ok := q.failed[e.CID]; !ok {
		if len(q.failed) >= maxEvents {
			q.overflow()
			return
		}
		q.failedOrder = append(q.failedOrder, e.CID)
	}
	q.failed[e.CID] = e
}

// readAgain has an event read again later, unless it was after the last of rereadDelays.
func (q *eventQueue) readAgain(e Event, reads int) {
	if reads >= len(rereadDelays) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.delayed[reads]) >= maxEvents {
		q.overflow()
		return
	}
	q.delayed[reads] = append(q.delayed[reads], delayedEvent{e, q.now().Add(rereadDelays[reads])})
}

// takeOverflow reports whether events were lost since the last call.
func (q *eventQueue) takeOverflow() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.overflowed
	q.overflowed = false
	return lost
}

// len is the number of events that wait.
func (q *eventQueue) len() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = len(q.order) + len(q.failedOrder)
	for _, list := range q.delayed {
		n += len(list)
	}
	return n
}
