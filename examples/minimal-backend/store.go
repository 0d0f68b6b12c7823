package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// store is a backend that keeps its pins in a map.
type store struct {
	// delegates are addresses that clients may hand their content to. The
	// specification wants at least one.
	delegates []string
	// fetch gets the content of a pin and keeps it. Nil: pins stay queued.
	fetch func(context.Context, pinsvc.Pin) error

	ctx     context.Context // of the fetches
	cancel  context.CancelFunc
	fetches sync.WaitGroup

	mu     sync.Mutex // guards what is below
	pins   map[string]pinsvc.PinStatus
	kept   []keptPin // the last replaced first
	latest time.Time
	closed bool
}

// The compiler reports missing methods.
var _ pinsvcapi.Backend = (*store)(nil)

func newStore(fetch func(context.Context, pinsvc.Pin) error, delegates ...string) *store {
	ctx, cancel := context.WithCancel(context.Background())
	return &store{
		delegates: delegates, fetch: fetch, ctx: ctx, cancel: cancel, pins: make(map[string]pinsvc.PinStatus),
	}
}

// lock begins an operation, unless the request has ended or the store is
// closed.
func (s *store) lock(ctx context.Context) (unlock func(), err error) {
	s.mu.Lock()
	err = ctx.Err()
	if s.closed {
		err = errors.New("the store is closed")
	}
	if err != nil {
		s.mu.Unlock()
		return nil, pinsvc.Wrap(pinsvc.KindUnavailable, err, "the store is not available")
	}
	return s.mu.Unlock, nil
}

// find returns the key and the pin of a request ID. It needs the lock.
func (s *store) find(requestID string) (string, pinsvc.PinStatus, error) {
	if c, ok := pinsvc.ParseRequestID(requestID); ok {
		if st, ok := s.pins[pinsvc.PinKey(c)]; ok {
			return pinsvc.PinKey(c), st, nil
		}
	}
	return "", pinsvc.PinStatus{}, pinsvc.Errorf(pinsvc.KindNotFound, "there is no pin with the request ID %q", requestID)
}

// check refuses what can never be pinned.
func check(pin pinsvc.Pin) error {
	if err := pinsvc.CheckPinnable(pin.CID); err != nil {
		return pinsvc.Errorf(pinsvc.KindBadRequest, "cid: %v", err)
	}
	return nil
}

// put adds a pin or changes the one that is there. It needs the lock.
func (s *store) put(pin pinsvc.Pin) pinsvc.PinStatus {
	pin.Origins = pin.Origins[:min(len(pin.Origins), pinsvc.MaxOrigins)]
	key := pinsvc.PinKey(pin.CID)
	st, held := s.pins[key]
	if !held {
		st = pinsvc.PinStatus{
			RequestID: pin.CID.String(), Created: s.nextCreated(), Status: pinsvc.StatusQueued, Delegates: s.delegates,
		}
	}
	if st.Status == pinsvc.StatusFailed { // A client that sends it again wants another try.
		st.Status, st.Info, held = pinsvc.StatusQueued, nil, false
	}
	st.Pin = pin
	s.pins[key] = st
	s.kept = slices.DeleteFunc(s.kept, func(k keptPin) bool { return k.key == key })
	if !held && s.fetch != nil {
		s.fetches.Go(func() { s.report(pin, s.fetch(s.ctx, pin)) })
	}
	return st
}

// nextCreated is now, in milliseconds, and later than that of every pin:
// clients page by it. It needs the lock.
func (s *store) nextCreated() time.Time {
	next := time.Now().UTC().Truncate(time.Millisecond)
	if !next.After(s.latest) {
		next = s.latest.Add(time.Millisecond)
	}
	s.latest = next
	return next
}

// report sets what became of a fetch.
func (s *store) report(pin pinsvc.Pin, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.pins[pinsvc.PinKey(pin.CID)]
	if !ok {
		return // It was deleted meanwhile.
	}
	st.Status, st.Info = pinsvc.StatusPinned, nil
	if err != nil {
		st.Status, st.Info = pinsvc.StatusFailed, map[string]string{"status_details": err.Error()}
	}
	s.pins[pinsvc.PinKey(pin.CID)] = st
	s.release(pinsvc.PinKey(pin.CID))
}

// Add implements pinsvcapi.Backend.
func (s *store) Add(ctx context.Context, _ pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if err := check(pin); err != nil {
		return pinsvc.PinStatus{}, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	defer unlock()
	return s.withKept(s.put(pin)), nil
}

// Get implements pinsvcapi.Backend.
func (s *store) Get(ctx context.Context, _ pinsvc.User, requestID string) (pinsvc.PinStatus, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	defer unlock()
	_, st, err := s.find(requestID)
	return s.withKept(st), err
}

// Replace implements pinsvcapi.Backend.
func (s *store) Replace(ctx context.Context, _ pinsvc.User, requestID string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if err := check(pin); err != nil {
		return pinsvc.PinStatus{}, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	defer unlock()
	key, old, err := s.find(requestID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	st := s.put(pin)
	if by := pinsvc.PinKey(pin.CID); key != by {
		s.replaced(key, old, by)
	}
	return s.withKept(st), nil
}

// Delete implements pinsvcapi.Backend.
func (s *store) Delete(ctx context.Context, _ pinsvc.User, requestID string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	key, _, err := s.find(requestID)
	if err == nil {
		delete(s.pins, key)
		s.release(key)
	}
	return err
}

// List implements pinsvcapi.Backend.
func (s *store) List(ctx context.Context, _ pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return pinsvc.Page{}, err
	}
	defer unlock()
	var found []pinsvc.PinStatus
	for _, st := range s.pins {
		if q.Matches(st) {
			found = append(found, s.withKept(st))
		}
	}
	slices.SortFunc(found, func(a, b pinsvc.PinStatus) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.RequestID, b.RequestID))
	})
	return pinsvc.PinResults{Count: len(found), Results: found[:pageEnd(found, q.Limit)]}.Page()
}

// pageEnd is where a page ends: between two creation times. Without imports
// every time is unique, and the page ends at the limit.
func pageEnd(sorted []pinsvc.PinStatus, limit int) int {
	if len(sorted) <= limit {
		return len(sorted)
	}
	same := func(i, j int) bool { return sorted[i].Created.Equal(sorted[j].Created) }
	end := limit
	for end > 0 && same(end-1, end) {
		end--
	}
	for end == 0 || end < min(len(sorted), pinsvc.MaxLimit) && same(end, 0) {
		end++ // The first group is larger than the limit: it comes whole.
	}
	return end
}

// Ready implements pinsvcapi.Backend.
func (s *store) Ready() error { return nil }

// Health implements pinsvcapi.Backend.
func (s *store) Health() error { return nil }

// Close implements pinsvcapi.Backend.
func (s *store) Close() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.fetches.Wait()
}

// carried is a fetch for CIDs that carry their content within themselves.
func carried(_ context.Context, pin pinsvc.Pin) error {
	if pin.CID.Prefix().MhType != multihash.IDENTITY {
		return errors.New("this example only keeps CIDs that carry their content")
	}
	return nil
}
