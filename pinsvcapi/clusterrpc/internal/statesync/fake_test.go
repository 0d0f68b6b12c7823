package statesync

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// TestMain fails when a syncer leaves goroutines behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

var errBroken = errors.New("the datastore is closed")

// named is the first version of pin n with that name. All versions have one timestamp,
// so that only their form tells them apart.
func named(n int, name string) api.Pin {
	rec := pinrecord.New(pinsvctest.RawCID(n))
	rec.Name, rec.Timestamp = name, time.Unix(1_700_000_000, 0)
	return rec
}

func version(rec api.Pin) Versioned { return Versioned{rec, true} }

// sharedState is a state and a sink. It is a Reader and a Sink.
type sharedState struct {
	mu       sync.Mutex
	records  map[cid.Cid]api.Pin
	rows     map[cid.Cid]api.Pin // the sink
	err      error               // of every read
	unread   map[cid.Cid]bool    // those that PinGet alone cannot read
	errAtEnd error               // of Pins, after the last record
	hang     map[cid.Cid]chan struct{}
	gets     map[cid.Cid]int
	streams  int
	compacts int
	streamed func(api.Pin) // called before each record of Pins is handed over
}

func newState(records ...api.Pin) *sharedState {
	s := &sharedState{
		records: make(map[cid.Cid]api.Pin), rows: make(map[cid.Cid]api.Pin),
		hang: make(map[cid.Cid]chan struct{}), unread: make(map[cid.Cid]bool), gets: make(map[cid.Cid]int),
	}
	for _, rec := range records {
		s.records[rec.Cid.Cid] = rec
	}
	return s
}

func (s *sharedState) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *sharedState) PinGet(ctx context.Context, key api.Cid) (api.Pin, error) {
	s.mu.Lock()
	s.gets[key.Cid]++
	hang := s.hang[key.Cid]
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return api.Pin{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return api.Pin{}, s.err
	}
	if s.unread[key.Cid] {
		return api.Pin{}, errBroken
	}
	rec, ok := s.records[key.Cid]
	if !ok {
		return api.Pin{}, state.ErrNotFound
	}
	return rec, nil
}

func (s *sharedState) Pins(_ context.Context, each func(api.Pin) error) error {
	s.mu.Lock()
	s.streams++
	records, err, errAtEnd, streamed := maps.Clone(s.records), s.err, s.errAtEnd, s.streamed
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, rec := range records {
		if streamed != nil {
			streamed(rec)
		}
		if err := each(rec); err != nil {
			return err
		}
	}
	return errAtEnd
}

func (s *sharedState) PutRecord(rec api.Pin, _ bool) { s.set(func() { s.rows[rec.Cid.Cid] = rec }) }

func (s *sharedState) DeleteRecord(key cid.Cid) { s.set(func() { delete(s.rows, key) }) }

func (s *sharedState) Keys(each func(string)) {
	s.mu.Lock()
	rows := maps.Clone(s.rows)
	s.mu.Unlock()
	for key := range rows {
		each(key.KeyString())
	}
}

func (s *sharedState) Compact() { s.set(func() { s.compacts++ }) }

// row is what the sink has of a pin.
func (s *sharedState) row(n int) (api.Pin, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.rows[pinsvctest.RawCID(n)]
	return rec, ok
}

func (s *sharedState) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

func (s *sharedState) reads(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets[pinsvctest.RawCID(n)]
}

func (s *sharedState) resyncs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams
}

func (s *sharedState) syncer() *Syncer {
	return New(Config{
		Reader: s, Sink: s, Now: time.Now, CommitTime: time.Minute,
		StateTimeout: 10 * time.Second, ResyncInterval: time.Hour,
	})
}

// running runs the syncer until the test ends.
func running(t *testing.T, s *Syncer) *Syncer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}
