package statesync

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/keylock"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/span"
)

var log = logging.Logger("clusterrpc")

// Reader reads the shared state: a clusterapi.Client.
type Reader interface {
	PinGet(ctx context.Context, key api.Cid) (api.Pin, error)
	Pins(ctx context.Context, each func(api.Pin) error) error
}

// Sink gets the records of visible pins: a peerstatus.Tracker.
type Sink interface {
	PutRecord(rec api.Pin, rewritten bool)
	DeleteRecord(key cid.Cid)
	// Keys calls each with the key of every pin that the sink has. Others may be
	// put in and taken out meanwhile.
	Keys(each func(key string))
	// Compact is called after each resync.
	Compact()
}

// Config is what a Syncer needs.
type Config struct {
	Reader Reader
	Sink   Sink
	Now    func() time.Time
	// CommitTime is how long the state usually takes to show an accepted write, at most. It
	// counts as SlowCommit at least.
	CommitTime time.Duration
	// WaitsForCommit: the state has a write when the consensus accepts it.
	WaitsForCommit bool
	// StateTimeout bounds one read of one record.
	StateTimeout time.Duration
	// ResyncInterval is the time between two reads of the whole state.
	ResyncInterval time.Duration
}

// SlowCommit is how long a commit may take on a slow disk, however young its writes are: it
// is no evidence of anything that a commit takes longer than others.
const SlowCommit = 30 * time.Second

// Syncer keeps a Sink equal to the shared state, with this peer's uncommitted
// writes. It is safe for concurrent use.
//
// What is read of a key is entered before the key is read again: a lock by key
// keeps an old record from overtaking a new one. While the whole state streams in,
// keys that are read otherwise are remembered, because the stream may be of an
// older state.
type Syncer struct {
	cfg         Config
	uncommitted *Uncommitted
	inFlight    inFlight
	events      *eventQueue
	keys        keylock.Locks

	mu sync.Mutex
	// touched are the keys read since the resync in progress began; nil without
	// one. mu closes the race between a resync's stream and single reads.
	touched map[cid.Cid]struct{}
	resyncs uint64 // that have begun

	resync resyncState
	// unavailable: the last read of the state failed.
	unavailable atomic.Bool
}

// New returns a syncer. Nothing is read before Resync or Run.
func New(cfg Config) *Syncer {
	s := &Syncer{
		cfg: cfg, uncommitted: NewUncommitted(cfg.Now, max(cfg.CommitTime, SlowCommit)),
		events: newEventQueue(cfg.Now),
	}
	s.resync.init(cfg.Now)
	return s
}

// Uncommitted are the writes of this peer that the state does not show yet.
func (s *Syncer) Uncommitted() *Uncommitted { return s.uncommitted }

// Behind reports whether the view may lack a change of a key that was announced, or the
// last read of the state failed.
func (s *Syncer) Behind(key cid.Cid) bool {
	return s.unavailable.Load() || s.resync.requests.Load() != s.resync.served.Load() || s.events.has(key)
}

// Get reads a record with this peer's uncommitted writes and enters it. The record
// may be one that clients do not see; the sink has none of those.
func (s *Syncer) Get(ctx context.Context, key api.Cid) (api.Pin, bool, error) {
	unlock, err := s.keys.Lock(ctx, key.Cid.KeyString())
	if err != nil {
		return api.Pin{}, false, clusterapi.Failure(err, "read the pin from the shared state")
	}
	defer unlock()
	resync := s.resyncSequence()
	now, err := s.Read(ctx, key)
	if err != nil {
		return api.Pin{}, false, err
	}
	s.touch(key.Cid, resync)
	s.enter(key.Cid, now, false)
	return now.Rec, now.Found, nil
}

// Read is Get without entering the record.
func (s *Syncer) Read(ctx context.Context, key api.Cid) (Versioned, error) {
	seq := s.uncommitted.Sequence()
	current, err := s.Committed(ctx, key)
	if err != nil {
		return Versioned{}, err
	}
	return s.uncommitted.Resolve(key.Cid, seq, current), nil
}

// Committed is what the state itself has under a key.
func (s *Syncer) Committed(ctx context.Context, key api.Cid) (Versioned, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StateTimeout)
	defer cancel()
	rec, err := s.cfg.Reader.PinGet(ctx, key)
	switch {
	case err == nil:
		s.unavailable.Store(false)
		return Versioned{rec, true}, nil
	case clusterapi.IsNotFound(err):
		s.unavailable.Store(false)
		return Versioned{}, nil
	default:
		if ctx.Err() != context.Canceled {
			s.unavailable.Store(true)
		}
		return Versioned{}, clusterapi.Failure(err, "read the pin from the shared state")
	}
}

// Begin notes that a writer has the locks of pins, before it reads any of their records,
// until the function that it returns is called.
func (s *Syncer) Begin(pins ...cid.Cid) (end func()) {
	for _, c := range pins {
		s.inFlight.begin(c)
	}
	return func() {
		for _, c := range pins {
			s.inFlight.end(c)
		}
	}
}

// Submit runs the function that hands a write to the consensus, and enters the write if
// the consensus accepts it. The writer holds the pin: see Begin.
//
// Where the consensus waits for the commit, the state is read back only when an event
// told of another change while the writer held the pin. Elsewhere the write is kept as
// uncommitted until the state shows it.
func (s *Syncer) Submit(ctx context.Context, w *Write, submit func() error) error {
	var outstanding []uint64
	if s.cfg.WaitsForCommit {
		s.inFlight.submitted(w.Key, w.After.form())
	} else {
		// Earlier writes may be committed, and dropped, before the state shows this one.
		outstanding = s.uncommitted.Outstanding(w.Key)
	}
	if err := submit(); err != nil {
		// It may take effect all the same, and may have been announced already.
		s.inFlight.failed(w.Key)
		s.Reread(*w)
		return err
	}
	// The write is done, whatever the request does.
	ctx, end := span.Start(context.WithoutCancel(ctx), "update_view")
	defer end()
	unlock, err := s.keys.Lock(ctx, w.Key.KeyString())
	if err != nil {
		return nil // It does not end.
	}
	defer unlock()
	s.touch(w.Key, s.resyncSequence())
	if s.cfg.WaitsForCommit && s.inFlight.alone(w.Key) {
		s.enter(w.Key, w.After, true)
		return nil
	}
	if !s.cfg.WaitsForCommit {
		s.uncommitted.add(*w, outstanding)
	}
	now, err := s.Read(ctx, api.NewCid(w.Key))
	if err != nil {
		log.Warnf("the write to pin %s was accepted but cannot be read back: %s", w.Key, err)
		now = w.After
	}
	s.enter(w.Key, now, true)
	return nil
}

// Reread has the state read for a write that may have taken effect, or may do so.
func (s *Syncer) Reread(w Write) {
	s.events.add(Event{CID: w.Key, Form: w.After.form(), Removed: !w.After.Found})
}

func (s *Syncer) enter(key cid.Cid, now Versioned, rewritten bool) {
	if now.Found && pinrecord.Visible(now.Rec) {
		s.cfg.Sink.PutRecord(now.Rec, rewritten)
	} else {
		s.cfg.Sink.DeleteRecord(key)
	}
}

// Notify enters an event. It never blocks. That of a write in flight of this peer is no
// news: the writer enters what it wrote.
func (s *Syncer) Notify(e Event) {
	if s.inFlight.ours(e) {
		return
	}
	s.uncommitted.announced(e)
	s.events.add(e)
}

// Run follows the events and reads the whole state from time to time, until the
// context ends.
func (s *Syncer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.followEvents(ctx) })
	wg.Go(func() { s.resyncAlways(ctx) })
	wg.Wait()
}

// followEvents reads the pins that events are about.
func (s *Syncer) followEvents(ctx context.Context) {
	for ctx.Err() == nil {
		e, reads, wait := s.events.take()
		if wait > 0 {
			if s.events.takeOverflow() {
				log.Warnf("more than %d changes wait: the whole pinset is read instead", maxEvents)
				s.RequestResync()
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-s.events.wake:
			case <-ctx.Done():
			}
			timer.Stop()
			continue
		}
		rec, found, err := s.Get(ctx, api.NewCid(e.CID))
		switch {
		case err != nil:
			s.events.readFailed(e)
		case !shows(e, Versioned{rec, found}):
			s.events.readAgain(e, reads)
		}
	}
}

// shows reports whether the state has what an event announced. Only the records are
// compared: which of two is newer is for the consensus to decide, and the times in them
// are by the clocks of the peers that wrote them. What an event announced and something
// newer has overtaken is read until the last of rereadDelays.
func shows(e Event, now Versioned) bool { return now.form() == e.Form }
