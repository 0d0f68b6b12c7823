package statewrite

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/span"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// maxOverdue is how long a write that the consensus does not end keeps its lock. By then
// the connection to a peer that is frozen has ended, and with it the write.
const maxOverdue = 2 * time.Minute

// Longest is how long a write may take to have its effect, if any, at most: it may be overdue for its
// caller long before.
func (w *Writer) Longest() time.Duration { return w.cfg.Timeout + maxOverdue }

// submit hands a write to the consensus, by a call that sends it and returns what the state
// has then. It returns when that
// has ended, when the time for it is over, or when the consensus is lost. In the latter
// cases the call goes on and may take effect; it keeps the lock of the pin until it ends,
// so that it cannot overtake a later write.
func (w *Writer) submit(ctx context.Context, write *statesync.Write, send func(context.Context) (statesync.Versioned, error)) error {
	return w.cfg.Syncer.Submit(ctx, write, func() error {
		ctx, end := span.Start(ctx, "commit")
		defer end()
		bound, release := w.bound(ctx)
		defer release()
		if bound.Err() != nil {
			return context.Cause(bound)
		}
		// Half a change is worse than a whole one: the call does not end with the request,
		// nor with the time that the client is given.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		var after statesync.Versioned
		var err error
		go func() {
			defer close(done)
			defer time.AfterFunc(w.Longest(), cancel).Stop()
			after, err = send(ctx)
		}()
		select {
		case <-done:
			write.After = after
			return err
		case <-bound.Done():
		}
		w.overdue.add(pinsvc.PinKey(write.Key), done, func() { w.cfg.Syncer.Reread(*write) })
		return context.Cause(bound)
	})
}

// bound is the time of one write. It goes on when the client has gone, and ends when the
// consensus is lost.
func (w *Writer) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Timeout)
	ctx, release := w.outage.bound(ctx)
	return ctx, func() {
		release()
		cancel()
	}
}

// failure is clusterapi.Failure for a write. The cluster itself waits a moment for a
// consensus that is unavailable, and then reports another cause.
func (w *Writer) failure(err error, action string) error {
	switch clusterapi.CauseOf(err.Error()) {
	case clusterapi.CauseOther, clusterapi.CauseTimedOut, clusterapi.CauseStalled:
		if unavailable := w.cfg.Consensus(); unavailable != nil {
			return unavailable
		}
	}
	return clusterapi.Failure(err, action)
}

// overdueWrites are the writes that have failed for their clients and have not ended. It is
// safe for concurrent use.
type overdueWrites struct {
	mu     sync.Mutex
	writes map[string][]overdueWrite // by pinsvc.PinKey
}

type overdueWrite struct {
	done  <-chan struct{}
	ended func()
}

func (o *overdueWrites) add(key string, done <-chan struct{}, ended func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writes == nil {
		o.writes = make(map[string][]overdueWrite)
	}
	o.writes[key] = append(o.writes[key], overdueWrite{done, ended})
}

// take returns the writes to pins whose lock the caller has.
func (o *overdueWrites) take(keys []string) (writes []overdueWrite) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.writes) == 0 {
		return nil
	}
	for _, key := range keys {
		writes = slices.Concat(writes, o.writes[key])
		delete(o.writes, key)
	}
	return writes
}

// afterAll calls unlock once the overdue writes to the pins have ended, at once when there
// are none.
func (o *overdueWrites) afterAll(keys []string, unlock func()) {
	writes := o.take(keys)
	if len(writes) == 0 {
		unlock()
		return
	}
	go func() {
		defer unlock()
		for _, write := range writes {
			<-write.done // Within maxOverdue: its context ends.
			write.ended()
		}
	}()
}
