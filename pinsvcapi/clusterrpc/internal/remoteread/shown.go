package remoteread

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// shownFor is how long a write waits for a record that clients were shown before it is
	// taken to be lost with the peer that had it.
	shownFor = 2 * time.Minute
	// maxShown bounds the records that are remembered, and maxShownBytes what they take: one may
	// have 40 KiB and more. Those of the longest ago are forgotten.
	maxShown, maxShownBytes = 1 << 13, 32 << 20
)

// shownPins are the pins of which clients were shown another peer's record that has not reached
// this peer. What this peer has may be older: it is not shown any more. A write here must come after
// that record: made without it, it would be concurrent with what its client has seen, and either of
// the two may win.
type shownPins struct {
	mu    sync.Mutex
	byPin *simplelru.LRU[string, shownPin]
	bytes int
}

// shownPin is the record that was shown last.
type shownPin struct {
	by  peer.ID // that has the record
	rec api.Pin
	// until is shownFor after that peer said last that it has the record.
	until time.Time
}

func newShownPin(by peer.ID, rec api.Pin) shownPin {
	return shownPin{by: by, rec: rec, until: time.Now().Add(shownFor)}
}

// size is about how many bytes the record takes.
func (p shownPin) size() int {
	const fixed, perPart = 512, 64
	size := fixed + len(p.rec.Name)
	for key, value := range p.rec.Metadata {
		size += perPart + len(key) + len(value)
	}
	for _, origin := range p.rec.Origins {
		size += perPart + len(origin.Bytes())
	}
	return size + perPart*(len(p.rec.Allocations)+len(p.rec.UserAllocations))
}

func newShownPins() *shownPins {
	s := &shownPins{}
	byPin, err := simplelru.NewLRU(maxShown, func(_ string, pin shownPin) { s.bytes -= pin.size() })
	if err != nil {
		panic(err) // The size is positive.
	}
	s.byPin = byPin
	return s
}

func (s *shownPins) add(c cid.Cid, pin shownPin) {
	key := pinsvc.PinKey(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byPin.Remove(key)
	s.byPin.Add(key, pin)
	s.bytes += pin.size()
	for s.bytes > maxShownBytes && s.byPin.Len() > 1 {
		s.byPin.RemoveOldest()
	}
}

func (s *shownPins) pin(c cid.Cid) (pin shownPin, ok bool) {
	key := pinsvc.PinKey(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	pin, ok = s.byPin.Peek(key)
	if ok && !time.Now().Before(pin.until) {
		s.byPin.Remove(key)
		return shownPin{}, false
	}
	return pin, ok
}

func (s *shownPins) forget(c cid.Cid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byPin.Remove(pinsvc.PinKey(c))
}

// AwaitShown returns nil unless clients of this peer were shown a record of another peer not long
// ago that has not arrived: then it waits for it as Await does. It is nil too when that peer has
// the pin no more. It is for writes that make a pin where this peer knows none, and costs them
// nothing otherwise.
func (r *Reader) AwaitShown(ctx context.Context, user pinsvc.User, c cid.Cid) error {
	if _, shown := r.shown.pin(c); !shown {
		return nil
	}
	rec, found, err := r.cfg.Look(ctx, c)
	if err != nil {
		return err
	}
	if found && r.arrived(ctx, c, rec) {
		return nil
	}
	err = r.Await(ctx, user, c)
	if err == nil || pinsvc.KindOf(err) == pinsvc.KindNotFound {
		r.shown.forget(c)
		return nil
	}
	return err
}

// Lags reports whether this peer has a record of a pin, and an older one than what clients of this
// peer were shown from another peer not long ago. It costs nothing if they were shown none.
func (r *Reader) Lags(ctx context.Context, c cid.Cid) bool {
	if _, shown := r.shown.pin(c); !shown {
		return false
	}
	rec, found, err := r.cfg.Look(ctx, c)
	return err == nil && found && !r.arrived(ctx, c, rec)
}

// arrived reports whether the record that this peer has of a pin is the one that was shown, or a
// newer one. That one is forgotten then.
func (r *Reader) arrived(ctx context.Context, c cid.Cid, rec api.Pin) bool {
	pin, shown := r.shown.pin(c)
	if shown && !r.includes(ctx, pin, rec) {
		return false
	}
	r.shown.forget(c)
	return true
}

// includes reports whether the state of this peer, which has the record now, has come to the one
// that was shown.
func (r *Reader) includes(ctx context.Context, pin shownPin, now api.Pin) bool {
	if r.same(pin.by, pin.rec, now) {
		return true
	}
	if r.cfg.Past != nil {
		return r.superseded(ctx, pin.by, pin.rec)
	}
	// The peer may have changed the pin since. If there is a leader, its state is the newest.
	by := pin.by
	if r.cfg.Leader != nil {
		leader, err := r.cfg.Leader(ctx)
		if err == nil && leader == r.cfg.Self {
			return true
		}
		if err != nil || leader == "" {
			return false
		}
		by = leader
	}
	got := r.askPeer(ctx, by, now.Cid.Cid)
	return got.err == nil && got.found && r.same(by, got.rec, now)
}

// same reports whether a record of another peer is a given one.
func (r *Reader) same(by peer.ID, theirs, ours api.Pin) bool {
	if theirs.Timestamp.Unix() != ours.Timestamp.Unix() {
		return false
	}
	// Else not all of the record is known.
	return r.denied.has(by) || pinrecord.Form(theirs) == pinrecord.Form(ours)
}

// stillThere reports whether clients of this peer were shown a pin not long ago that nobody who was
// asked has: the peer that has it does not respond, and nothing says that it was removed. Where
// there is a leader, that one knows.
func (r *Reader) stillThere(ctx context.Context, c cid.Cid) bool {
	pin, shown := r.shown.pin(c)
	return shown && r.cfg.Leader == nil && !r.removed(ctx, pin.by, pin.rec) && !r.gone(ctx, pin.by, c)
}

// gone asks the peer whose record was shown, whether or not its pings arrive.
func (r *Reader) gone(ctx context.Context, by peer.ID, c cid.Cid) bool {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	got := r.askPeer(ctx, by, c)
	return got.err == nil && !got.found
}
