package remoteread

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// shownFor is how long a write waits for a record that clients were shown before it is
	// taken to be lost with the peer that had it.
	shownFor = 2 * time.Minute
	// maxShown bounds the records that are remembered; those of the longest ago are forgotten.
	maxShown = 1 << 13
)

// shownPins are the pins of which clients were shown another peer's record that has not reached
// this peer. A write here must come after that record: made without it, it would be concurrent
// with what its client has seen, and either of the two may win.
type shownPins struct {
	mu    sync.Mutex
	byPin *simplelru.LRU[string, shownPin]
}

type shownPin struct {
	by    peer.ID // that has the record
	rec   api.Pin
	until time.Time
}

func newShownPins() *shownPins {
	byPin, err := simplelru.NewLRU[string, shownPin](maxShown, nil)
	if err != nil {
		panic(err) // The size is positive.
	}
	return &shownPins{byPin: byPin}
}

func (s *shownPins) add(c cid.Cid, by peer.ID, rec api.Pin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byPin.Add(pinsvc.PinKey(c), shownPin{by, rec, time.Now().Add(shownFor)})
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
	known := r.cfg.Known(c)
	if !known {
		var err error
		if known, err = r.cfg.Look(ctx, c); err != nil {
			return err
		}
	}
	if known {
		r.shown.forget(c)
		return nil
	}
	err := r.Await(ctx, user, c)
	if err == nil || pinsvc.KindOf(err) == pinsvc.KindNotFound {
		r.shown.forget(c)
		return nil
	}
	return err
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
