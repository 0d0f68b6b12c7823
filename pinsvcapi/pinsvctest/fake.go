package pinsvctest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// FakeDelegate is the only delegate of a Fake.
const FakeDelegate = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

// Fake is a Backend in memory with shared tenancy: new pins are queued until
// SetStatus changes them. A pin that was replaced is kept until the new one is pinned. Use NewFake. All methods may be called by many
// goroutines at once.
type Fake struct {
	mu       sync.Mutex
	pins     map[string]pinsvc.PinStatus // by stateKey
	kept     []keptPin                   // the last replaced first
	failure  error
	notReady error
	unwell   error
	closed   int
}

// keptPin is a pin that was replaced and whose content is kept.
type keptPin struct {
	key, by string // stateKeys
	cid     string
}

// NewFake returns an empty Fake that is ready and well.
func NewFake() *Fake { return &Fake{pins: make(map[string]pinsvc.PinStatus)} }

// stateKey is equal for the two forms of one dag-pb CID (D1).
func stateKey(c cid.Cid) string {
	if c.Type() == cid.DagProtobuf {
		return cid.NewCidV1(cid.DagProtobuf, c.Hash()).KeyString()
	}
	return c.KeyString()
}

// SetStatus makes the pin have that status; it panics for an unknown pin.
func (f *Fake) SetStatus(requestID string, status pinsvc.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, st, err := f.find(requestID)
	if err != nil {
		panic(err)
	}
	st.Status, st.Info = status, nil
	if status == pinsvc.StatusFailed {
		st.Info = map[string]string{"status_details": "the fake was told to fail this pin"}
	}
	f.pins[key] = st
	f.release(key)
}

// Keeps reports whether the content of a CID is pinned, or to be pinned.
func (f *Fake) Keeps(c cid.Cid) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, held := f.pins[stateKey(c)]
	return held || slices.ContainsFunc(f.kept, func(k keptPin) bool { return k.key == stateKey(c) })
}

// release gives up what a pin keeps, if it is pinned or gone. The caller holds the lock.
func (f *Fake) release(key string) {
	if st, held := f.pins[key]; !held || st.Status == pinsvc.StatusPinned {
		f.kept = slices.DeleteFunc(f.kept, func(k keptPin) bool { return k.by == key })
	}
}

// withKept returns the pin as responses show it. The caller holds the lock.
func (f *Fake) withKept(st pinsvc.PinStatus) pinsvc.PinStatus {
	var kept []string
	for _, k := range f.kept {
		if k.by == stateKey(st.Pin.CID) {
			kept = append(kept, k.cid)
		}
	}
	if len(kept) > 0 {
		st.Info = maps.Clone(st.Info)
		if st.Info == nil {
			st.Info = make(map[string]string, 1)
		}
		st.Info["kept"] = strings.Join(kept, ", ")
	}
	return st
}

// PinElsewhere puts pins in as if another tool had made them at that moment.
func (f *Fake) PinElsewhere(created time.Time, pins ...pinsvc.Pin) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pin := range pins {
		f.pins[stateKey(pin.CID)] = newStatus(pin, created)
	}
}

// Fail makes every request fail with err until it is called with nil.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

// SetReady sets the result of Ready.
func (f *Fake) SetReady(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notReady = err
}

// SetHealth sets the result of Health.
func (f *Fake) SetHealth(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unwell = err
}

// Closed is how often Close was called.
func (f *Fake) Closed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// begin is what every request starts with. The caller holds the lock.
func (f *Fake) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return pinsvc.Wrap(pinsvc.KindUnavailable, err, "the request was cancelled")
	}
	return f.failure
}

// find returns the pin with either form of the CID of a request ID. The caller holds the
// lock.
func (f *Fake) find(requestID string) (string, pinsvc.PinStatus, error) {
	notFound := pinsvc.Errorf(pinsvc.KindNotFound, "no pin has the request ID %q", requestID)
	c, err := cid.Decode(requestID)
	if err != nil {
		return "", pinsvc.PinStatus{}, notFound
	}
	st, ok := f.pins[stateKey(c)]
	if !ok {
		return "", pinsvc.PinStatus{}, notFound
	}
	return stateKey(c), st, nil
}

// nextCreated is now, or later when that is not newer than every pin (D2).
// The caller holds the lock.
func (f *Fake) nextCreated() time.Time {
	next := time.Now().UTC().Truncate(time.Millisecond)
	for _, st := range f.pins {
		if !st.Created.Before(next) {
			next = st.Created.Add(time.Millisecond)
		}
	}
	return next
}

func newStatus(pin pinsvc.Pin, created time.Time) pinsvc.PinStatus {
	return pinsvc.PinStatus{
		RequestID: pin.CID.String(),
		Status:    pinsvc.StatusQueued,
		Created:   created.UTC(),
		Pin:       clonePin(pin),
		Delegates: []string{FakeDelegate},
	}
}

func clonePin(pin pinsvc.Pin) pinsvc.Pin {
	pin.Origins = slices.Clone(pin.Origins[:min(len(pin.Origins), pinsvc.MaxOrigins)])
	pin.Meta = maps.Clone(pin.Meta)
	return pin
}

// put is Add without the beginning. The caller holds the lock.
func (f *Fake) put(pin pinsvc.Pin) pinsvc.PinStatus {
	key := stateKey(pin.CID)
	st, held := f.pins[key]
	if !held {
		st = newStatus(pin, f.nextCreated())
	}
	st.Pin = clonePin(pin)
	if st.Status == pinsvc.StatusFailed { // A re-add starts the tries anew.
		st.Status, st.Info = pinsvc.StatusQueued, nil
	}
	f.pins[key] = st
	f.kept = slices.DeleteFunc(f.kept, func(k keptPin) bool { return k.key == key })
	return st
}

// Add implements Backend.
func (f *Fake) Add(ctx context.Context, _ pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := pin.Validate(); err != nil {
		return pinsvc.PinStatus{}, err
	}
	return f.withKept(f.put(pin)), nil
}

// Get implements Backend.
func (f *Fake) Get(ctx context.Context, _ pinsvc.User, requestID string) (pinsvc.PinStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return pinsvc.PinStatus{}, err
	}
	_, st, err := f.find(requestID)
	return f.withKept(st), err
}

// Replace implements Backend.
func (f *Fake) Replace(ctx context.Context, _ pinsvc.User, requestID string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return pinsvc.PinStatus{}, err
	}
	old, before, err := f.find(requestID)
	if err != nil {
		return pinsvc.PinStatus{}, err
	}
	if err := pin.Validate(); err != nil {
		return pinsvc.PinStatus{}, err
	}
	st := f.put(pin)
	if key := stateKey(pin.CID); old != key {
		delete(f.pins, old)
		for i := range f.kept {
			if f.kept[i].by == old {
				f.kept[i].by = key
			}
		}
		f.kept = slices.Insert(f.kept, 0, keptPin{key: old, by: key, cid: before.RequestID})
		f.release(key)
	}
	return f.withKept(st), nil
}

// Delete implements Backend.
func (f *Fake) Delete(ctx context.Context, _ pinsvc.User, requestID string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	key, _, err := f.find(requestID)
	if err != nil {
		return err
	}
	delete(f.pins, key)
	f.release(key)
	return nil
}

// List implements Backend.
func (f *Fake) List(ctx context.Context, _ pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return pinsvc.Page{}, err
	}
	var found []pinsvc.PinStatus
	for _, st := range f.pins {
		if matches(q, st) {
			found = append(found, f.withKept(st))
		}
	}
	slices.SortFunc(found, func(a, b pinsvc.PinStatus) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.RequestID, b.RequestID))
	})
	return pinsvc.PinResults{Count: len(found), Results: found[:pageEnd(found, q.Limit)]}.Page()
}

// pageEnd is where the first page of sorted ends: at the limit, or at the last
// change of created before it, or after the first group when that is larger
// than the limit (D3).
func pageEnd(sorted []pinsvc.PinStatus, limit int) int {
	if len(sorted) <= limit {
		return len(sorted)
	}
	end := limit
	for end > 0 && sorted[end-1].Created.Equal(sorted[end].Created) {
		end--
	}
	if end > 0 {
		return end
	}
	for end < min(len(sorted), pinsvc.MaxLimit) && sorted[end].Created.Equal(sorted[0].Created) {
		end++
	}
	return end
}

// Ready implements Backend.
func (f *Fake) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.notReady
}

// Health implements Backend.
func (f *Fake) Health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unwell
}

// Close implements Backend.
func (f *Fake) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
}
