package peerstatus

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
)

const (
	// maxFailures bounds the pins in the failure table. For further pins the
	// tracker's own count of attempts decides, and no reason is shown.
	maxFailures = 100_000
	// maxRetryDelay bounds the time between two attempts.
	maxRetryDelay = 5 * time.Minute
	// retryJitter is the share of a delay that chance may take off, so that what
	// failed together is not retried together.
	retryJitter = 0.1
)

// shardedPin is the peer of a failure of a sharded root.
const shardedPin = -1

// failure is one peer's failure to hold a pin: its reason, attempt count and next
// retry.
type failure struct {
	peer   int // its number, see Placements
	state  State
	cause  clusterapi.Cause
	reason string
	// confirmed: the peer had the content before it was Lost.
	confirmed bool
	// attempts is the tracker's count, of which base do not count: they were
	// made before the record was last written, or without an IPFS node.
	attempts, base int
	// retries is the number of retry requests sent to the peer, and due is when
	// to send the next; zero: never.
	retries int
	due     time.Time
	// yielded: peers closer to the pin had their time to request the retry.
	yielded bool
	// retrying: the next attempt was requested or is in progress.
	retrying bool
}

// checkDelay is the time between two polls of a peer for a pin that failed there because
// its storage was full. The peer tries again by itself once there is space.
const checkDelay = 15 * time.Second

// counted is how many of the attempts count.
func (f *failure) counted() int { return max(1, f.attempts-f.base) }

// failureTable has the pins that are lost, waiting, retrying or failed somewhere.
type failureTable struct {
	now     func() time.Time
	backoff backoff.Policy

	mu   sync.Mutex
	pins map[cid.Cid][]failure
	next time.Time // nothing is due before
}

func newFailureTable(now func() time.Time, delay time.Duration) *failureTable {
	return &failureTable{
		now: now, pins: make(map[cid.Cid][]failure),
		backoff: backoff.Policy{Min: delay, Max: maxRetryDelay, Jitter: retryJitter},
	}
}

// at returns the failure of a pin at a peer, made if there is room. It needs the
// lock; the pointer is valid until the next call.
func (t *failureTable) at(key cid.Cid, peer int) *failure {
	list := t.pins[key]
	for i := range list {
		if list[i].peer == peer {
			return &list[i]
		}
	}
	fresh := failure{peer: peer}
	if list == nil && len(t.pins) >= maxFailures {
		return &fresh
	}
	t.pins[key] = append(list, fresh)
	return &t.pins[key][len(list)]
}

// attemptFailed records a failed attempt and reports whether it was the last.
func (t *failureTable) attemptFailed(key cid.Cid, peer int, r Report, maxAttempts int) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.at(key, peer)
	if r.Attempts < f.base {
		f.base = 0 // The tracker has begun to count anew.
	}
	known := f.state == Retrying && f.attempts == r.Attempts
	f.attempts, f.cause, f.reason = r.Attempts, clusterapi.CauseOf(r.Error), strings.Clone(clusterapi.Reason(r.Error))
	if f.state == Failed || f.counted() >= maxAttempts {
		if f.state, f.due = Failed, (time.Time{}); clusterapi.StorageFull(r.Error) {
			t.schedule(f, checkDelay)
		}
		return true
	}
	if f.state = Retrying; !known {
		f.retrying = false
		t.schedule(f, t.backoff.Next(f.counted()))
	}
	return false
}

// attemptBegun records that the next attempt is in progress.
func (t *failureTable) attemptBegun(key cid.Cid, peer int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.pins[key] {
		if f := &t.pins[key][i]; f.peer == peer {
			f.retrying = true
		}
	}
}

// contentLost records that a peer's IPFS node does not have what it should have.
func (t *failureTable) contentLost(key cid.Cid, peer int, confirmed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.at(key, peer); f.state != Lost {
		f.state, f.reason, f.retries, f.confirmed = Lost, "", 0, confirmed
		t.schedule(f, 0)
	}
}

// cannotTry records that a peer cannot try now. Such attempts do not count.
func (t *failureTable) cannotTry(key cid.Cid, peer int, r Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.at(key, peer)
	if f.base += r.Attempts - f.attempts; r.Attempts < f.attempts {
		f.base = r.Attempts // The tracker has begun to count anew.
	}
	f.attempts = r.Attempts
	if f.state != Waiting {
		f.state, f.cause, f.retries = Waiting, clusterapi.CauseOf(r.Error), 0
		t.schedule(f, t.backoff.Next(1))
	}
}

// schedule needs the lock.
func (t *failureTable) schedule(f *failure, delay time.Duration) {
	f.due, f.yielded = t.now().Add(delay), false
	if f.due.Before(t.next) {
		t.next = f.due
	}
}

// resolved removes the failure of a peer: it holds the pin, or does not count any
// more.
func (t *failureTable) resolved(key cid.Cid, peer int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list, ok := t.pins[key]
	if !ok {
		return
	}
	list = slices.DeleteFunc(list, func(f failure) bool { return f.peer == peer })
	if t.pins[key] = list; len(list) == 0 {
		delete(t.pins, key)
	}
}

// resumed records that a peer that could not try is at work again. The attempts
// that do not count are kept.
func (t *failureTable) resumed(key cid.Cid, peer int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.pins[key] {
		if f := &t.pins[key][i]; f.peer == peer {
			*f = failure{peer: peer, attempts: f.attempts, base: f.base}
		}
	}
}

// predates reports whether a failure is the one that was known when the record
// was written again.
func (t *failureTable) predates(key cid.Cid, peer int, r Report) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.pins[key] {
		if f.peer == peer {
			return f.base > 0 && f.base == r.Attempts && f.state == Unknown
		}
	}
	return false
}

// discount records an attempt that does not count.
func (t *failureTable) discount(key cid.Cid, peer int, r Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.at(key, peer)
	*f = failure{peer: peer, attempts: r.Attempts, base: r.Attempts}
}

// restart begins the count of attempts anew, because the record was written again.
func (t *failureTable) restart(key cid.Cid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.pins[key] {
		f := &t.pins[key][i]
		*f = failure{peer: f.peer, attempts: f.attempts, base: f.attempts}
	}
}

// forget drops all failures of a pin.
func (t *failureTable) forget(key cid.Cid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pins, key)
}

// of returns the failures of a pin.
func (t *failureTable) of(key cid.Cid) []failure {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.pins[key])
}

// shardFailed records the failure of a sharded root in place of the last one.
func (t *failureTable) shardFailed(key cid.Cid, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.at(key, shardedPin)
	f.state, f.cause, f.reason = Failed, clusterapi.CauseOther, strings.Clone(reason)
}

// len is the number of pins with a failure to show.
func (t *failureTable) len() (pins int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.pins {
		if slices.ContainsFunc(list, func(f failure) bool { return f.state != Unknown }) {
			pins++
		}
	}
	return pins
}

// dueFailure is a failure whose retry is due.
type dueFailure struct {
	key     cid.Cid
	peer    int
	yielded bool
}

// due returns at most limit failures whose retry is due.
func (t *failureTable) due(limit int) []dueFailure {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if now.Before(t.next) {
		return nil
	}
	var due []dueFailure
	next := now.Add(maxRetryDelay)
	for key, list := range t.pins {
		for _, f := range list {
			switch {
			case f.due.IsZero():
			case f.due.After(now):
				if f.due.Before(next) {
					next = f.due
				}
			case len(due) < limit:
				due = append(due, dueFailure{key, f.peer, f.yielded})
			default:
				next = now
			}
		}
	}
	t.next = next
	return due
}

// reschedule moves the next retry. sent: the retry was requested now, and
// delay does not count; else the retry is only put off by delay.
func (t *failureTable) reschedule(key cid.Cid, peer int, sent bool, delay time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.pins[key] {
		f := &t.pins[key][i]
		if f.peer != peer || f.due.IsZero() {
			continue
		}
		if sent {
			f.retries++
			f.retrying = true
			delay = t.backoff.Next(f.retries)
		}
		t.schedule(f, delay)
		f.yielded = !sent
	}
}

// describe returns one sentence on what is wrong at a peer.
func (f failure) describe(now time.Time, maxAttempts int, pinTimeout time.Duration) string {
	switch f.state {
	case Failed:
		if f.peer == shardedPin {
			return f.reason
		}
		return f.describeAttempt(maxAttempts, pinTimeout)
	case Retrying:
		text := f.describeAttempt(maxAttempts, pinTimeout)
		if f.retrying {
			text += fmt.Sprintf("; attempt %d is in progress", f.counted()+1)
		} else if wait := f.due.Sub(now).Round(time.Second); wait > 0 {
			text += fmt.Sprintf("; next attempt in %s", wait)
		}
		return text
	case Lost:
		if f.confirmed {
			return "the IPFS node of a peer lost the content; it is being fetched again"
		}
		return "the IPFS node of a peer does not have the content yet; it is being fetched"
	case Waiting:
		switch f.cause {
		case clusterapi.CausePinQueueFull:
			return "waiting for room in a peer's pin queue (pin_tracker.stateless.max_pin_queue_size)"
		case clusterapi.CauseTimedOut:
			return "waiting for the IPFS node of a peer: it did not respond in time"
		}
		return "waiting for the IPFS node of a peer: it is unavailable"
	default:
		return ""
	}
}

// describeAttempt names the reason of an attempt that failed, and its number. The
// reason of an attempt without data is no text of upstream's (U23 in
// docs/upstream-faults.md).
func (f failure) describeAttempt(maxAttempts int, pinTimeout time.Duration) string {
	attempt := fmt.Sprintf("attempt %d of %d", min(f.counted(), maxAttempts), maxAttempts)
	switch {
	case f.cause == clusterapi.CauseStalled && pinTimeout > 0:
		return fmt.Sprintf("no data for %s (ipfs_connector.ipfshttp.pin_timeout), %s", pinTimeout, attempt)
	case f.cause == clusterapi.CauseStalled:
		return "no data within ipfs_connector.ipfshttp.pin_timeout, " + attempt
	case f.reason == "":
		return "failed for an unknown reason, " + attempt
	}
	return fmt.Sprintf("%s, %s", f.reason, attempt)
}
