package groupcommit

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	"github.com/multiformats/go-multiaddr"
)

var log = logging.Logger("groupcommit")

// Committer is the one writer of a state. Its methods may be called by many goroutines.
type Committer struct {
	cfg  Config
	wake chan struct{} // has room for one
	done chan struct{} // closed when the loop has ended

	mu     sync.Mutex // guards the fields below, and the stages of all writes
	queue  []*write   // oldest first
	begun  []*write   // those of the commit that is being made
	closed bool
	// failing and suspended are why no write is accepted: a commit has failed, see again, or Suspend was
	// called. nil: they are.
	failing, suspended error
}

// stage is how far a write has come.
type stage uint8

const (
	stageQueued stage = iota
	stageBegun
	stageDone
)

// write is one call of Pin or Unpin.
type write struct {
	ctx   context.Context
	pin   api.Pin
	unpin bool
	// holds, if not nil, is the condition on the record that the state has when the write is put into
	// a commit.
	holds   func(api.Pin) bool
	changed bool     // holds is not met, and the commit keeps the record; only the loop changes it
	kept    *api.Pin // the record, if it was removed; only the loop changes it
	size    int
	since   time.Time
	mark    uint64 // of Incoming, when it came
	// answer has room for the one answer.
	answer chan error

	// Only the loop changes what follows, but stage; fresh does not change once the write is queued.

	attempts int  // how many commits the state ignored
	parked   bool // waits for older changes of other peers
	fresh    bool // was accepted, before its commit, as one of a pin that the state did not have
	failed   bool // a commit of it has failed, see again
	givenUp  bool // after that: another peer has changed the record
	// base is what the state had of the key when the write was put into a commit, or what a failed try of
	// that has made of it; beneath is what it had when such a try has hidden that.
	base, beneath *base
	stage         stage
}

// New starts a Committer, which runs until Close.
func New(cfg Config) *Committer {
	cfg.setDefaults()
	c := &Committer{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go c.run()
	return c
}

// Pin returns nil when the record is in the state, and on the disk. An error that is
// ErrUncertain says that it may be there later; every other one, that it is not begun.
func (c *Committer) Pin(ctx context.Context, pin api.Pin) error {
	return c.pin(&write{ctx: ctx, pin: pin})
}

func (c *Committer) pin(w *write) error {
	if !isText(w.pin) { // The only records that cannot be encoded, which the state does once more.
		if _, err := w.pin.ProtoMarshal(); err != nil {
			return fmt.Errorf("encode the record of %s: %w", w.pin.Cid, err)
		}
	}
	w.size = elementBytes + recordBytes(w.pin)
	return c.submit(w)
}

// isText reports whether the texts of a record are UTF-8.
func isText(pin api.Pin) bool {
	valid := utf8.ValidString(pin.Name)
	for key, value := range pin.Metadata {
		valid = valid && utf8.ValidString(key) && utf8.ValidString(value)
	}
	return valid
}

// recordBytes is about what a record takes, mostly more.
func recordBytes(pin api.Pin) int {
	n := 128 + len(pin.Name) + 48*(len(pin.Allocations)+len(pin.UserAllocations))
	for key, value := range pin.Metadata {
		n += len(key) + len(value) + 8
	}
	for _, origin := range pin.Origins {
		for i := range origin.Multiaddr {
			n += 4 + originBytes(&origin.Multiaddr[i])
		}
	}
	return n
}

// originBytes bounds a part of an address: only names and paths are long.
func originBytes(c *multiaddr.Component) int {
	if size := c.Protocol().Size; size >= 0 {
		return size / 8
	}
	if c.Code() == multiaddr.P_P2P {
		return 40
	}
	return len(c.Value())
}

// Unpin is Pin for the removal of a record.
func (c *Committer) Unpin(ctx context.Context, key api.Cid) error {
	return c.submit(&write{ctx: ctx, pin: api.PinCid(key), unpin: true, size: elementBytes})
}

// elementBytes is about what a key, the ID of its block and their framing take.
const elementBytes = 160

func (c *Committer) submit(w *write) error {
	w.answer, w.since, w.mark = make(chan error, 1), time.Now(), c.cfg.Incoming.Mark()
	if c.cfg.NoWait {
		return c.accept(w)
	}
	if err := c.enqueue(w); err != nil {
		return err
	}
	select {
	case err := <-w.answer:
		return err
	case <-w.ctx.Done():
		return c.abandon(w)
	}
}

// accept queues a write whose answer does not wait for its commit. What the write would wait for in the
// queue it waits for before: how long that takes depends on other peers, and what was accepted is to be on
// the disk soon.
func (c *Committer) accept(w *write) error {
	if c.cfg.Incoming.Awaits(w.mark) {
		if w.fresh = !c.depends(w); !w.fresh {
			if err := c.awaitIncoming(w); err != nil {
				return err
			}
			w.since = time.Now()
		}
	}
	return c.enqueue(w)
}

func (c *Committer) awaitIncoming(w *write) error {
	ctx, cancel := context.WithTimeoutCause(w.ctx, behindWait, ErrBehind)
	defer cancel()
	poll := time.NewTicker(behindPoll)
	defer poll.Stop()
	for c.cfg.Incoming.Awaits(w.mark) {
		select {
		case <-poll.C:
		case <-c.done:
			return ErrClosed
		case <-ctx.Done():
			if err := w.ctx.Err(); err != nil {
				return fmt.Errorf("%w: %w", ErrBehind, err)
			}
			return ErrBehind
		}
	}
	return nil
}

func (c *Committer) enqueue(w *write) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch refusal := c.refusal(); {
	case c.closed:
		return ErrClosed
	case refusal != nil:
		return refusal
	case len(c.queue) >= c.cfg.MaxQueue:
		return ErrQueueFull
	}
	c.queue = append(c.queue, w)
	c.cfg.Metrics.queued.Set(float64(len(c.queue)))
	c.signal()
	return nil
}

// refusal is why no write is accepted, or nil. It needs the lock.
func (c *Committer) refusal() error { return cmp.Or(c.suspended, c.failing) }

// signal wakes the loop.
func (c *Committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// abandon ends a write whose request has ended: one that is still queued is not made.
func (c *Committer) abandon(w *write) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch w.stage {
	case stageDone:
		return <-w.answer
	case stageQueued:
		w.stage = stageDone // take drops it.
		err := w.ctx.Err()
		if w.parked {
			err = fmt.Errorf("%w: %w", ErrBehind, err)
		}
		if w.attempts == 0 {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUncertain, w.ctx.Err())
}

// finish answers a write, once.
func (c *Committer) finish(w *write, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finishLocked(w, err)
}

func (c *Committer) finishLocked(w *write, err error) {
	if w.stage == stageDone {
		return
	}
	if c.cfg.NoWait && err != nil {
		log.Errorf("the change of pin %s, which was accepted, could not be committed: %s", w.pin.Cid, err)
	}
	w.stage = stageDone
	w.answer <- err
}

// Suspend refuses writes, and ends those that wait, until Resume: the store cannot write now. A
// commit that is being made goes on.
func (c *Committer) Suspend(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = fmt.Errorf("%w: %w", ErrUnavailable, cause)
	for _, w := range c.begun {
		c.finishLocked(w, fmt.Errorf("%w: %w", ErrUncertain, cause))
	}
	c.refuseQueued()
}

// Resume ends Suspend.
func (c *Committer) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = nil
	c.signal()
}

// refuseQueued needs the lock. Writes that were accepted unseen stay.
func (c *Committer) refuseQueued() {
	if c.cfg.NoWait {
		return
	}
	for _, w := range c.queue {
		err := c.refusal()
		if w.attempts > 0 {
			err = fmt.Errorf("%w: %w", ErrUncertain, err)
		}
		c.finishLocked(w, err)
	}
	c.queue = nil
	c.cfg.Metrics.queued.Set(0)
}

// Close refuses further writes, commits those that wait, and returns when they are committed or
// ctx has ended.
func (c *Committer) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("%d writes are not committed: %w", len(c.queue)+len(c.begun), ctx.Err())
	}
}
