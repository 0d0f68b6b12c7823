package remoteread

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// A removal waits for a change that another peer has accepted, and for nothing else.
func TestReader_AwaitNewest(t *testing.T) {
	old, rec, newer := record(pinsvctest.RawCID(1), 1), record(pinsvctest.RawCID(1), 2), record(pinsvctest.RawCID(1), 3)
	for name, test := range map[string]struct {
		far     func(context.Context) (api.Pin, error)
		prepare func(*world)
		kind    pinsvc.Kind // KindInternal: no error
		took    time.Duration
		asked   int64
	}{
		"all have the same": {
			far: func(context.Context) (api.Pin, error) { return rec, nil }, asked: 2,
		},
		"the other is behind": {
			far: func(context.Context) (api.Pin, error) { return old, nil }, asked: 2,
		},
		"the other has removed it": {
			far: func(context.Context) (api.Pin, error) { return api.Pin{}, state.ErrNotFound }, asked: 2,
		},
		"the other has what was removed here": {
			far:     func(context.Context) (api.Pin, error) { return newer, nil },
			prepare: func(w *world) { w.removed.Add(rowOf(newer)) }, asked: 2,
		},
		"a change that does not come": {
			far:  func(context.Context) (api.Pin, error) { return newer, nil },
			kind: pinsvc.KindUnavailable, took: DefaultTimeout, asked: 2,
		},
		"a change that comes": {
			far: func(context.Context) (api.Pin, error) { return newer, nil },
			prepare: func(w *world) {
				time.AfterFunc(lookInterval/2, func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.past = append(w.past, newer)
				})
			},
			took: lookInterval, asked: 2,
		},
		"the other does not answer": {
			far:  func(ctx context.Context) (api.Pin, error) { <-ctx.Done(); return api.Pin{}, ctx.Err() },
			took: newestPatience, asked: 2,
		},
		"nobody else": {prepare: func(w *world) { w.alive = []peer.ID{self} }},
		"a leader that has a newer one": {
			far: func(context.Context) (api.Pin, error) { return newer, nil },
			prepare: func(w *world) {
				w.leads(far)
				w.reader.cfg.Timeout -= askAgain / 2 // Not at the moment of another question.
			},
			kind: pinsvc.KindUnavailable, took: DefaultTimeout - askAgain/2, asked: int64(DefaultTimeout / askAgain),
		},
		"a leader whose newer one comes": {
			far: func(context.Context) (api.Pin, error) { return newer, nil },
			prepare: func(w *world) {
				w.leads(far)
				time.AfterFunc(lookInterval/2, func() { w.has(newer) })
			},
			took: lookInterval/2 + newsPause, asked: 1,
		},
		"a leader that has the same": {
			far: func(context.Context) (api.Pin, error) { return rec, nil }, prepare: func(w *world) { w.leads(far) }, asked: 1,
		},
		"the leader itself": {
			far: func(context.Context) (api.Pin, error) { return newer, nil }, prepare: func(w *world) { w.leads(self) },
		},
		"it is not known what came": {
			far:     func(context.Context) (api.Pin, error) { return newer, nil },
			prepare: func(w *world) { w.reader.cfg.Past = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.has(rec)
				w.past = []api.Pin{old, rec}
				w.setPinGet(func(ctx context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
					if p == far {
						return test.far(ctx)
					}
					return rec, nil
				})
				if test.prepare != nil {
					test.prepare(w)
				}
				began := time.Now()
				err := w.reader.AwaitNewest(t.Context(), rec.Cid)
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if test.kind == pinsvc.KindInternal && err != nil {
					t.Error(err)
				} else if test.kind != pinsvc.KindInternal {
					isKind(t, "AwaitNewest", err, test.kind)
				}
				if n := w.asked.Load(); n != test.asked {
					t.Errorf("%d calls, want %d", n, test.asked)
				}
			})
		})
	}
}

// leads makes a peer the leader.
func (w *world) leads(p peer.ID) {
	w.reader.cfg.Leader = func(context.Context) (peer.ID, error) { return p, nil }
	w.reader.cfg.Has = func(rec api.Pin) bool {
		row, ok := w.view.Get(rec.Cid.Cid)
		return ok && int64(row.Written) == rec.Timestamp.Unix()
	}
}

// A frozen peer costs one wait now and then, not one for each removal.
func TestReader_ASilentPeerIsNotWaitedForEachTime(t *testing.T) {
	rec := record(pinsvctest.RawCID(1), 2)
	inWorld(t, func(t *testing.T, w *world) {
		w.has(rec)
		w.past = []api.Pin{rec}
		w.setPinGet(func(ctx context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == far {
				<-ctx.Done()
				return api.Pin{}, ctx.Err()
			}
			return rec, nil
		})
		waits := func() time.Duration {
			began := time.Now()
			if err := w.reader.AwaitNewest(t.Context(), rec.Cid); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		if first, second := waits(), waits(); first != newestPatience || second != 0 {
			t.Errorf("the first waits %s, the second %s", first, second)
		}
		time.Sleep(silentFor)
		if again := waits(); again != newestPatience {
			t.Errorf("later it is not asked again: %s", again)
		}
	})
}

// hangs is a client whose monitor does not answer.
type hangs struct {
	Client
	reads atomic.Int64
}

func (h *hangs) LatestMetrics(ctx context.Context, _ string) ([]api.Metric, error) {
	h.reads.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A removal waits for its own reading of who lives, and not for that of others. When that does not end, those
// are asked who lived before.
func TestReader_AMonitorThatHangsHoldsNoRemovalForLong(t *testing.T) {
	rec, newer := record(pinsvctest.RawCID(1), 2), record(pinsvctest.RawCID(1), 3)
	inWorld(t, func(t *testing.T, w *world) {
		w.has(rec)
		w.past = []api.Pin{rec}
		w.setPinGet(func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return rec, nil })
		if err := w.reader.AwaitNewest(t.Context(), rec.Cid); err != nil {
			t.Error(err)
		}
		time.Sleep(livingFor)
		w.setPinGet(func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return newer, nil })
		h := &hangs{Client: w.reader.cfg.Client}
		w.reader.cfg.Client = h
		var removals sync.WaitGroup
		for range 8 {
			removals.Go(func() {
				began := time.Now()
				isKind(t, "AwaitNewest", w.reader.AwaitNewest(t.Context(), rec.Cid), pinsvc.KindUnavailable)
				if took := time.Since(began); took != newestPatience+DefaultTimeout {
					t.Errorf("it took %s", took)
				}
			})
		}
		removals.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), newestPatience/2)
			defer cancel()
			began := time.Now()
			_ = w.reader.AwaitNewest(ctx, rec.Cid) // Its request has ended.
			if took := time.Since(began); took != newestPatience/2 {
				t.Errorf("a request that ends waits %s", took)
			}
		})
		removals.Wait()
		if n := h.reads.Load(); n > 2 {
			t.Errorf("the list was read %d times at once", n)
		}
	})
}
