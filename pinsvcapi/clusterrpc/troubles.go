package clusterrpc

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
)

const (
	// maxTroubles bounds the pins that failures are remembered of. Without
	// memory the tracker's own count of tries decides, and no reason is told.
	maxTroubles = 100_000
	// retryMost bounds the time between two tries.
	retryMost = 5 * time.Minute
)

// wholePin is the peer of a trouble that is that of a sharded root.
const wholePin = -1

// trouble is what one peer's failure to hold a pin leaves to be told and done.
type trouble struct {
	peer     int // its number, see places
	standing standing
	reason   string
	// attempts is the tracker's count, of which base were made before the
	// record was last written, or with the IPFS node away.
	attempts, base int
	// asked is how often the peer was asked to try again, and due is when to
	// do so next.
	asked int
	due   time.Time
	// left says that peers closer to the pin had their turn.
	left bool
}

// tries is how many of the tries count.
func (t *trouble) tries() int { return max(1, t.attempts-t.base) }

// troubles are the pins that are lost, waiting, failing or failed somewhere.
type troubles struct {
	now   func() time.Time
	delay time.Duration // before the first further try

	mu   sync.Mutex
	pins map[cid.Cid][]trouble
	next time.Time // no trouble is due before
}

func newTroubles(now func() time.Time, delay time.Duration) *troubles {
	return &troubles{now: now, delay: delay, pins: make(map[cid.Cid][]trouble)}
}

// at returns the trouble of a pin with a peer, made if there is room. It needs
// the lock; the pointer is good until the next call.
func (t *troubles) at(key cid.Cid, peer int) *trouble {
	list := t.pins[key]
	for i := range list {
		if list[i].peer == peer {
			return &list[i]
		}
	}
	fresh := trouble{peer: peer}
	if list == nil && len(t.pins) >= maxTroubles {
		return &fresh
	}
	t.pins[key] = append(list, fresh)
	return &t.pins[key][len(list)]
}

// failed tells of a failure and returns how many tries have failed.
func (t *troubles) failed(key cid.Cid, peer int, a answer, maxAttempts int) (gaveUp bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.at(key, peer)
	if a.attempts < e.base {
		e.base = 0 // The tracker has begun to count anew.
	}
	again := e.standing == standingTrying && e.attempts == a.attempts
	e.attempts, e.reason = a.attempts, strings.Clone(reasonOf(a.text))
	if e.standing == standingGaveUp || e.tries() >= maxAttempts {
		e.standing, e.due = standingGaveUp, time.Time{}
		return true
	}
	if e.standing = standingTrying; !again {
		t.plan(e, t.delay<<min(e.tries()-1, 10))
	}
	return false
}

// lost tells that a peer's IPFS node does not have what it should.
func (t *troubles) lost(key cid.Cid, peer int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.at(key, peer)
	if e.standing != standingLost {
		e.standing, e.reason, e.asked = standingLost, "", 0
		t.plan(e, 0)
	}
}

// waits tells that a peer cannot try for the moment. Such tries do not count.
func (t *troubles) waits(key cid.Cid, peer int, a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.at(key, peer)
	e.base, e.attempts = a.attempts, a.attempts
	if e.standing != standingWaits {
		e.standing, e.reason, e.asked = standingWaits, strings.Clone(reasonOf(a.text)), 0
		t.plan(e, t.delay)
	}
}

// plan needs the lock.
func (t *troubles) plan(e *trouble, wait time.Duration) {
	e.due, e.left = t.now().Add(min(wait, retryMost)), false
	if e.due.Before(t.next) {
		t.next = e.due
	}
}

// over tells that a peer holds the pin.
func (t *troubles) over(key cid.Cid, peer int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list, ok := t.pins[key]
	if !ok {
		return
	}
	list = slices.DeleteFunc(list, func(e trouble) bool { return e.peer == peer })
	if t.pins[key] = list; len(list) == 0 {
		delete(t.pins, key)
	}
}

// old reports whether a failure is one of before the record was written again.
func (t *troubles) old(key cid.Cid, peer int, a answer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.pins[key] {
		if e.peer == peer {
			return e.base > 0 && e.base == a.attempts && e.standing == standingUnknown
		}
	}
	return false
}

// discount tells of a failure that does not count.
func (t *troubles) discount(key cid.Cid, peer int, a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.at(key, peer)
	*e = trouble{peer: peer, attempts: a.attempts, base: a.attempts}
}

// anew tells that the record was written again: what was tried before does not
// count any more.
func (t *troubles) anew(key cid.Cid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.pins[key] {
		e := &t.pins[key][i]
		*e = trouble{peer: e.peer, attempts: e.attempts, base: e.attempts}
	}
}

// forget drops all that is known of a pin.
func (t *troubles) forget(key cid.Cid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pins, key)
}

// of returns the troubles of a pin.
func (t *troubles) of(key cid.Cid) []trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.pins[key])
}

// set puts the trouble of a sharded root in place of what there was.
func (t *troubles) set(key cid.Cid, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.at(key, wholePin)
	e.standing, e.reason = standingGaveUp, strings.Clone(reason)
}

// dueTrouble is a peer that is to be asked to try a pin again.
type dueTrouble struct {
	key  cid.Cid
	peer int
}

// due returns at most limit troubles whose time has come.
func (t *troubles) due(limit int) []dueTrouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if now.Before(t.next) {
		return nil
	}
	var due []dueTrouble
	next := now.Add(retryMost)
	for key, list := range t.pins {
		for _, e := range list {
			switch {
			case e.due.IsZero():
			case e.due.After(now):
				if e.due.Before(next) {
					next = e.due
				}
			case len(due) < limit:
				due = append(due, dueTrouble{key, e.peer})
			default:
				next = now
			}
		}
	}
	t.next = next
	return due
}

// wait is how much of a turn is left after a trouble became due.
func (t *troubles) wait(d dueTrouble, turn time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.pins[d.key] {
		if e.peer == d.peer && !e.left {
			return turn
		}
	}
	return 0
}

// putOff moves the next try: back by a pause, or, when the peer was asked,
// further with each time.
func (t *troubles) putOff(d dueTrouble, asked bool, pause time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.pins[d.key] {
		e := &t.pins[d.key][i]
		if e.peer != d.peer || e.due.IsZero() {
			continue
		}
		if asked {
			pause = t.delay << min(e.asked, 10)
			e.asked++
		}
		t.plan(e, pause)
		e.left = !asked
	}
}

// tell says in one sentence what is wrong at a peer.
func (e trouble) tell(now time.Time, maxAttempts int) string {
	switch e.standing {
	case standingGaveUp:
		if e.reason == "" {
			return "the peer that should hold the pin failed for an unknown reason"
		}
		return e.reason
	case standingTrying:
		text := fmt.Sprintf("try %d of %d failed: %s", e.tries(), maxAttempts, e.reason)
		if wait := e.due.Sub(now).Round(time.Second); wait > 0 {
			text += fmt.Sprintf("; the next try is in %s", wait)
		}
		return text
	case standingLost:
		return "the IPFS node of a peer lost the content; it is being fetched again"
	case standingWaits:
		if causeOf(e.reason) == causeTooManyPins {
			return "waiting for room in the queue of a peer that should hold the pin"
		}
		return "waiting for the IPFS node of a peer that should hold the pin"
	default:
		return ""
	}
}
