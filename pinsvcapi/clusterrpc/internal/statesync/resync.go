package statesync

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/progress"
)

// resyncRetry are the delays after a resync that failed.
var resyncRetry = backoff.Policy{Min: time.Second, Max: time.Minute, Jitter: 0.2}

// resyncState is what is known of reads of the whole state.
type resyncState struct {
	seed      maphash.Seed
	requested chan struct{}
	// requests is how often one was requested, and served how often that was when the last
	// one that succeeded began.
	requests, served atomic.Uint64
	progress         progress.Counter

	mu    sync.Mutex
	stats ResyncStats
}

// ResyncStats count reads of the whole state.
type ResyncStats struct {
	Succeeded, Failed uint64
	// Last is when the last one that succeeded ended, and Took how long it took.
	Last time.Time
	Took time.Duration
}

func (r *resyncState) init(now func() time.Time) {
	r.seed, r.requested = maphash.MakeSeed(), make(chan struct{}, 1)
	r.progress.Now = now
}

func (r *resyncState) ended(began, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.stats.Failed++
		return
	}
	r.stats.Succeeded++
	r.stats.Last, r.stats.Took = now, now.Sub(began)
}

// Stats are for metrics.
type Stats struct {
	Resync         ResyncStats
	QueuedEvents   int
	EventOverflows uint64
}

// Stats returns what happened since the start.
func (s *Syncer) Stats() Stats {
	s.resync.mu.Lock()
	defer s.resync.mu.Unlock()
	return Stats{s.resync.stats, s.events.len(), s.events.overflows.Load()}
}

// Progress describes how far the resync in progress is.
func (s *Syncer) Progress() string { return s.resync.progress.String() }

// RequestResync requests a resync before the next one is due.
func (s *Syncer) RequestResync() {
	s.resync.requests.Add(1)
	select {
	case s.resync.requested <- struct{}{}:
	default:
	}
}

// resyncAlways reads the whole state after each interval and when that is
// requested. A resync that fails is retried until it succeeds: the events that it
// stands for are lost.
func (s *Syncer) resyncAlways(ctx context.Context) {
	failures := backoff.Counter{Policy: resyncRetry}
	for s.awaitResync(ctx) {
		for {
			err := s.Resync(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				failures.Reset()
				break
			}
			delay := min(failures.Next(), max(s.cfg.ResyncInterval, time.Millisecond))
			log.Warnf("%s; next attempt in %s", err, delay.Round(time.Millisecond))
			if !backoff.Sleep(ctx, delay) {
				return
			}
		}
		s.cfg.Sink.Compact()
	}
}

// awaitResync waits for the next resync; false: the context ended.
func (s *Syncer) awaitResync(ctx context.Context) bool {
	timer := time.NewTimer(s.cfg.ResyncInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.resync.requested:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// Resync enters the whole state and takes out of the sink what the state does not
// have. Beside the sink it needs 8 bytes a pin while it runs. Only one may run at a
// time.
func (s *Syncer) Resync(ctx context.Context) (err error) {
	began := s.cfg.Now()
	requests := s.resync.requests.Load()
	defer func() {
		if err == nil {
			s.resync.served.Store(requests)
		}
		s.resync.ended(began, s.cfg.Now(), err)
	}()
	s.beginTouched()
	defer s.endTouched()
	s.resync.progress.Begin()
	var seen []uint64
	err = s.cfg.Reader.Pins(ctx, func(rec api.Pin) error {
		seen = append(seen, s.hash(rec.Cid.KeyString()))
		s.resync.progress.Step()
		return s.enterStreamed(ctx, rec)
	})
	if err != nil {
		return fmt.Errorf("read the pinset: %w", err)
	}
	slices.Sort(seen)
	return s.rereadMissing(ctx, seen)
}

func (s *Syncer) enterStreamed(ctx context.Context, rec api.Pin) error {
	key := rec.Cid.Cid
	unlock, err := s.keys.Lock(ctx, key.KeyString())
	if err != nil {
		return err
	}
	defer unlock()
	if !s.uncommitted.Pending(key) && !s.wasTouched(key) {
		s.enter(key, Versioned{rec, true}, false)
	}
	return nil
}

// rereadMissing reads every pin of the sink whose hash is not among those of the
// state's. A removal is believed only then: pins come and go while the state
// streams.
func (s *Syncer) rereadMissing(ctx context.Context, seen []uint64) error {
	var missing []string
	s.cfg.Sink.Keys(func(key string) {
		if _, ok := slices.BinarySearch(seen, s.hash(key)); !ok {
			missing = append(missing, key)
		}
	})
	for _, key := range missing {
		c, err := cid.Cast([]byte(key))
		if err == nil {
			_, _, err = s.Get(ctx, api.NewCid(c))
		}
		if err != nil {
			return fmt.Errorf("read a pin that the pinset lacks: %w", err)
		}
	}
	return nil
}

func (s *Syncer) hash(key string) uint64 { return maphash.String(s.resync.seed, key) }

// resyncSequence is the number of the last resync that began. It is taken before a key is
// read, for touch.
func (s *Syncer) resyncSequence() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resyncs
}

// touch notes that a key was read while a resync is in progress, which was the last to
// begin before the read. A read that began before the resync may be older than its stream.
func (s *Syncer) touch(key cid.Cid, resync uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.touched != nil && s.resyncs == resync {
		s.touched[key] = struct{}{}
	}
}

func (s *Syncer) wasTouched(key cid.Cid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.touched[key]
	return ok
}

// beginTouched begins to note keys, and endTouched ends it.
func (s *Syncer) beginTouched() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resyncs++
	s.touched = make(map[cid.Cid]struct{})
}

func (s *Syncer) endTouched() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = nil
}
