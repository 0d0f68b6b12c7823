package soak

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// slots is how many pins there are, more or less, all the time.
	slots = 500
	// The first pins fail for ever, the next are for ever in flight, and the
	// others are pinned after a moment.
	failing = 10
	held    = 20

	writers, readers, pollers = 4, 2, 8
	// pause is what a worker leaves between two requests: as fast as a
	// handful of busy clients, and even on a slow machine not so fast that
	// the peer never comes to the end of what it was asked.
	writerPause, readerPause, pollerPause = 40 * time.Millisecond, 20 * time.Millisecond, 10 * time.Millisecond
)

// load is the clients and what they know.
type load struct {
	service *service
	slots   [slots]slot
	// asking is held for reading during each request, so that a sample,
	// which holds it for writing, sees a peer that nothing is asked of.
	asking sync.RWMutex
	cancel context.CancelFunc
	done   sync.WaitGroup
	tally  tally
	fault  atomic.Pointer[error]
}

// slot is the place of one pin. Only its writer changes it.
type slot struct {
	mu         sync.Mutex
	generation uint64
	id         string // the request ID, empty while there is none
	changes    int    // how often id was set
}

// tally is what was done.
type tally struct{ writes, reads, polls int64 }

func (t tally) String() string {
	return fmt.Sprintf("%d writes, %d reads, %d polls", t.writes, t.reads, t.polls)
}

func newLoad(s *service) *load {
	l := &load{service: s}
	for i := range held {
		if i < failing {
			s.peer.Node.Fail(content(i, 0), errors.New("merkledag: the content is malformed"))
		} else {
			s.peer.Node.Hold(content(i, 0))
		}
	}
	return l
}

// content is the CID of a slot. What fails or is held keeps its CID.
func content(i int, generation uint64) cid.Cid {
	if i < held {
		generation = 0
	}
	var seed [16]byte
	binary.BigEndian.PutUint64(seed[:8], uint64(i))
	binary.BigEndian.PutUint64(seed[8:], generation)
	digest := sha256.Sum256(seed[:])
	hash, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // The length is right by construction.
	}
	return cid.NewCidV1(cid.DagProtobuf, hash)
}

func pinOf(i int, generation uint64) pinsvc.Pin {
	return pinsvc.Pin{
		CID:  content(i, generation),
		Name: fmt.Sprintf("soak-%04d", i),
		Meta: map[string]string{"slot": fmt.Sprint(i)},
	}
}

// fill makes the pins of all slots.
func (l *load) fill(t *testing.T) {
	t.Helper()
	for i := range l.slots {
		if err := l.add(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
}

// start lets the clients begin.
func (l *load) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	t.Cleanup(func() {
		cancel()
		l.done.Wait()
	})
	for w := range writers {
		l.work(ctx, writerPause, &l.tally.writes, func() error { return l.write(ctx, rand.IntN(slots/writers)*writers+w) })
	}
	for range readers {
		l.work(ctx, readerPause, &l.tally.reads, func() error { return l.read(ctx) })
	}
	for range pollers {
		l.work(ctx, pollerPause, &l.tally.polls, func() error { return l.poll(ctx, rand.IntN(slots)) })
	}
}

// work does something again and again until ctx ends or something failed.
func (l *load) work(ctx context.Context, pause time.Duration, count *int64, do func() error) {
	l.done.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			l.asking.RLock()
			err := do()
			l.asking.RUnlock()
			if err != nil && ctx.Err() == nil {
				l.fault.CompareAndSwap(nil, &err)
				return
			}
			atomic.AddInt64(count, 1)
		}
	})
}

// write changes one slot: mostly the pin is given up and another one made,
// sometimes one takes the place of the other, or only its name changes.
func (l *load) write(ctx context.Context, i int) error {
	switch rand.IntN(10) {
	case 0:
		return l.replace(ctx, i)
	case 1:
		return l.rename(ctx, i)
	default:
		if err := l.remove(ctx, i); err != nil {
			return err
		}
		return l.add(ctx, i)
	}
}

func (l *load) add(ctx context.Context, i int) error {
	s := &l.slots[i]
	var made pinsvc.PinStatus
	if err := l.service.request(ctx, http.MethodPost, "/pins", pinOf(i, s.generation+1), &made); err != nil {
		return err
	}
	s.set(s.generation+1, made.RequestID)
	return nil
}

func (l *load) remove(ctx context.Context, i int) error {
	s := &l.slots[i]
	id := s.current()
	s.set(s.generation, "")
	return l.service.request(ctx, http.MethodDelete, "/pins/"+id, nil, nil)
}

func (l *load) replace(ctx context.Context, i int) error {
	s := &l.slots[i]
	id := s.current()
	s.set(s.generation, "")
	var made pinsvc.PinStatus
	if err := l.service.request(ctx, http.MethodPost, "/pins/"+id, pinOf(i, s.generation+1), &made); err != nil {
		return err
	}
	s.set(s.generation+1, made.RequestID)
	return nil
}

func (l *load) rename(ctx context.Context, i int) error {
	s := &l.slots[i]
	pin := pinOf(i, s.generation)
	pin.Name += fmt.Sprintf("-%d", rand.IntN(100))
	return l.service.request(ctx, http.MethodPost, "/pins/"+s.current(), pin, nil)
}

func (s *slot) current() string {
	id, _ := s.state()
	return id
}

// state also tells how often the slot has changed: a pin that was given up
// and made again has the same request ID.
func (s *slot) state() (id string, changes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id, s.changes
}

func (s *slot) set(generation uint64, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation, s.id = generation, id
	s.changes++
}

// queries are what readers ask for.
var queries = []string{
	"status=pinned&limit=10",
	"status=queued,pinning,pinned,failed&limit=100",
	"status=queued,pinning",
	"status=failed&limit=1000",
	"name=soak-0400",
	"name=SOAK-04&match=ipartial&limit=50",
	"meta=%7B%22slot%22%3A%22400%22%7D",
	"status=pinned&limit=1",
}

// read asks for a page, and now and then for the next one.
func (l *load) read(ctx context.Context) error {
	query := queries[rand.IntN(len(queries))]
	page, err := l.service.list(ctx, query)
	if err != nil {
		return err
	}
	if err := checkPage(query, page); err != nil || len(page.Results) == 0 {
		return err
	}
	query += "&before=" + page.Results[len(page.Results)-1].Created.Format("2006-01-02T15:04:05.000Z")
	next, err := l.service.list(ctx, query)
	if err != nil {
		return err
	}
	return checkPage(query, next)
}

// checkPage wants a page newest first, without a pin twice.
func checkPage(query string, page pinsvc.PinResults) error {
	if page.Count < len(page.Results) {
		return fmt.Errorf("%s: a count of %d for %d results", query, page.Count, len(page.Results))
	}
	seen := make(map[string]bool)
	for i, pin := range page.Results {
		if seen[pin.RequestID] {
			return fmt.Errorf("%s: %s is there twice", query, pin.RequestID)
		}
		seen[pin.RequestID] = true
		if i > 0 && pin.Created.After(page.Results[i-1].Created) {
			return fmt.Errorf("%s: %s of %s comes after one of %s", query, pin.RequestID, pin.Created, page.Results[i-1].Created)
		}
	}
	return nil
}

// poll asks for a pin. That it is not there is a fault only if nobody has
// changed it meanwhile.
func (l *load) poll(ctx context.Context, i int) error {
	s := &l.slots[i]
	id, changes := s.state()
	if id == "" {
		return nil
	}
	err := l.service.request(ctx, http.MethodGet, "/pins/"+id, nil, nil)
	var r *refusal
	if errors.As(err, &r) && r.status == http.StatusNotFound {
		if _, now := s.state(); now != changes {
			return nil
		}
	}
	return err
}
