package remoteread

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

const self, near, far = peer.ID("self"), peer.ID("near"), peer.ID("far")

var errDenied = errors.New("client does not have permissions to call Cluster.PinGet")

// world is this peer and two others, whose answers a test sets.
type world struct {
	mu      sync.Mutex
	alive   []peer.ID
	pinGet  func(ctx context.Context, p peer.ID, key api.Cid) (api.Pin, error)
	status  func(p peer.ID, key api.Cid) (api.PinInfo, error)
	looks   func(c cid.Cid) (api.Pin, bool)
	past    []api.Pin
	asked   atomic.Int64
	view    *pinset.View
	removed *Removed
	reader  *Reader
}

func (w *world) LatestMetrics(context.Context, string) (pings []api.Metric, err error) {
	for _, p := range w.alive {
		pings = append(pings, api.Metric{Peer: p, Valid: true})
	}
	return pings, nil
}

func (w *world) PinGetAt(ctx context.Context, p peer.ID, key api.Cid) (api.Pin, error) {
	w.asked.Add(1)
	w.mu.Lock()
	f := w.pinGet
	w.mu.Unlock()
	if f == nil {
		return api.Pin{}, state.ErrNotFound
	}
	return f(ctx, p, key)
}

func (w *world) TrackerStatus(_ context.Context, p peer.ID, key api.Cid) (api.PinInfo, error) {
	return w.status(p, key)
}

func (w *world) setPinGet(f func(ctx context.Context, p peer.ID, key api.Cid) (api.Pin, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pinGet = f
}

// inWorld runs f in a bubble of time.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{alive: []peer.ID{self, near, far}, view: pinset.New(), removed: NewRemoved(), looks: func(cid.Cid) (api.Pin, bool) { return api.Pin{}, false }}
		tasks := taskgroup.New()
		w.reader = New(Config{
			Client: w, View: w.view, Removed: w.removed, Self: self, Tasks: tasks,
			Known: func(c cid.Cid) bool { _, ok := w.view.Lookup(c); return ok },
			Look: func(_ context.Context, c cid.Cid) (api.Pin, bool, error) {
				w.mu.Lock()
				looks := w.looks
				w.mu.Unlock()
				rec, found := looks(c)
				return rec, found, nil
			},
			Past: func(context.Context, api.Cid) ([]api.Pin, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.past, nil
			},
		})
		defer tasks.Close()
		f(t, w)
	})
}

func record(c cid.Cid, written int64) api.Pin {
	rec := pinrecord.New(c)
	rec.Timestamp = time.Unix(written, 0)
	rec.Metadata = map[string]string{}
	pinrecord.Stamp(rec, time.UnixMilli(1_700_000_000_123))
	return rec
}

func rowOf(rec api.Pin) pinset.Pin {
	created, _ := pinrecord.CreatedOf(rec)
	return pinset.Pin{CID: rec.Cid.Cid, Created: created, Written: uint32(rec.Timestamp.Unix()), Revision: uint16(pinrecord.RevisionOf(rec)), Status: pinsvc.StatusQueued}
}

func isKind(t *testing.T, what string, err error, want pinsvc.Kind) {
	t.Helper()
	if err == nil || pinsvc.KindOf(err) != want {
		t.Errorf("%s: %v, want kind %s", what, err, want)
	}
}

func TestReader_NoOfAllIsNotFoundAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		began := time.Now()
		isKind(t, "Await", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindNotFound)
		if took := time.Since(began); took != 0 {
			t.Errorf("after %s", took)
		}
		if n := w.asked.Load(); n != 2 {
			t.Errorf("%d calls, want one to each other peer", n)
		}
	})
}

// The news arrive while the others are asked.
func TestReader_NewsEndTheWait(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rec := record(pinsvctest.RawCID(1), 1)
		w.pinGet = func(ctx context.Context, _ peer.ID, _ api.Cid) (api.Pin, error) {
			<-ctx.Done()
			return api.Pin{}, ctx.Err()
		}
		time.AfterFunc(100*time.Millisecond, func() { w.view.Put(rowOf(rec)) })
		began := time.Now()
		if err := w.reader.Await(t.Context(), "", rec.Cid.Cid); err != nil || time.Since(began) > 110*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// A "no" that was on its way when the pin was made is no answer to a request that came after.
func TestReader_ANoIsOnlyForThoseThatWaited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rec := record(pinsvctest.RawCID(1), 1)
		made := false
		w.pinGet = func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			w.mu.Lock()
			found := made && p == far
			w.mu.Unlock()
			time.Sleep(time.Second) // The answer travels.
			if found {
				return rec, nil
			}
			return api.Pin{}, state.ErrNotFound
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			isKind(t, "before the pin was made", w.reader.Await(t.Context(), "", rec.Cid.Cid), pinsvc.KindNotFound)
		})
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		w.mu.Lock()
		made = true
		w.mu.Unlock()
		for range 10 {
			wg.Go(func() {
				isKind(t, "after it was made", w.reader.Await(t.Context(), "", rec.Cid.Cid), pinsvc.KindUnavailable)
			})
		}
		wg.Wait()
		if n := w.asked.Load(); n != 2*2 {
			t.Errorf("%d calls for 11 requests, want one question after the other", n)
		}
	})
}

func TestReader_FindReturnsTheOtherPeersRecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rec := record(pinsvctest.RawCID(1), 1)
		w.pinGet = func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == far {
				return rec, nil
			}
			return api.Pin{}, state.ErrNotFound
		}
		got, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
		if err != nil || !found || !got.Cid.Equals(rec.Cid) {
			t.Errorf("%v %t %v", got, found, err)
		}
		isKind(t, "Await", w.reader.Await(t.Context(), "", rec.Cid.Cid), pinsvc.KindUnavailable)
		w.looks = func(cid.Cid) (api.Pin, bool) { w.view.Put(rowOf(rec)); return rec, true } // No event came, and the state has it.
		if err := w.reader.Await(t.Context(), "", rec.Cid.Cid); err != nil {
			t.Error(err)
		}
	})
}

// The pin was removed at the other peer while the request waited for it.
func TestReader_ARemovalMeanwhileIsNotFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rec := record(pinsvctest.RawCID(1), 1)
		began := time.Now()
		w.pinGet = func(context.Context, peer.ID, api.Cid) (api.Pin, error) {
			if time.Since(began) > 100*time.Millisecond {
				return api.Pin{}, state.ErrNotFound
			}
			return rec, nil
		}
		_, _, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
		isKind(t, "Find", err, pinsvc.KindNotFound)
	})
}

func TestReader_APeerBehindARemovalSaysNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		removed := record(pinsvctest.RawCID(1), 100)
		w.removed.Add(rowOf(removed))
		have := removed
		w.pinGet = func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return have, nil }
		isKind(t, "the same record", w.reader.Await(t.Context(), "", removed.Cid.Cid), pinsvc.KindNotFound)
		have = record(removed.Cid.Cid, 99)
		isKind(t, "an older one", w.reader.Await(t.Context(), "", removed.Cid.Cid), pinsvc.KindNotFound)
		have = record(removed.Cid.Cid, 101) // Written again there, concurrently.
		if _, found, err := w.reader.Find(t.Context(), "", removed.Cid.Cid); !found {
			t.Errorf("a newer record of the pin: %v", err)
		}
		have = record(removed.Cid.Cid, 100)
		pinrecord.Stamp(have, time.UnixMilli(1_800_000_000_000)) // Made anew.
		if _, found, err := w.reader.Find(t.Context(), "", removed.Cid.Cid); !found {
			t.Errorf("another pin of the content: %v", err)
		}
	})
}

func TestReader_EachUserHasALimit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range questionBurst {
			isKind(t, "a guess", w.reader.Await(t.Context(), "mallory", pinsvctest.RawCID(i)), pinsvc.KindNotFound)
		}
		began := time.Now()
		err := w.reader.Await(t.Context(), "mallory", pinsvctest.RawCID(1_000_000))
		isKind(t, "one more", err, pinsvc.KindTooManyRequests)
		if took := time.Since(began); took != limitedPatience {
			t.Errorf("after %s", took)
		}
		if n := w.asked.Load(); n != 2*questionBurst {
			t.Errorf("%d calls for %d guesses", n, questionBurst+1)
		}
		isKind(t, "another user", w.reader.Await(t.Context(), "alice", pinsvctest.RawCID(1)), pinsvc.KindNotFound)
		if got := w.reader.Counts(); got["limited"] != 1 || got["absent"] != questionBurst+1 {
			t.Errorf("%v", got)
		}
	})
}

// The only peer of a cluster asks nobody, so that nothing has to be limited.
func TestReader_NothingIsLimitedWithNobodyToAsk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive = nil
		began := time.Now()
		for i := range 3 * questionBurst {
			isKind(t, "a pin that nobody has", w.reader.Await(t.Context(), "alice", pinsvctest.RawCID(i)), pinsvc.KindNotFound)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("after %s", took)
		}
	})
}

// Over the limit, pins that do arrive are found all the same.
func TestReader_OverTheLimitNewsStillCount(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for w.reader.limiter.Take("mallory") {
		}
		rec := record(pinsvctest.RawCID(1), 1)
		time.AfterFunc(100*time.Millisecond, func() { w.view.Put(rowOf(rec)) })
		if err := w.reader.Await(t.Context(), "mallory", rec.Cid.Cid); err != nil {
			t.Error(err)
		}
	})
}

// What waits takes the place of other requests: one user has half of it, and all together have a
// limit. A list with many CIDs is one.
func TestReader_WaitingRequestsAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pinGet = func(ctx context.Context, _ peer.ID, _ api.Cid) (api.Pin, error) {
			<-ctx.Done()
			return api.Pin{}, ctx.Err()
		}
		for w.reader.limiter.Take("mallory") { // With and without a question left.
		}
		var wg sync.WaitGroup
		wait := func(user pinsvc.User) {
			for range DefaultMaxWaiting / 2 {
				wg.Go(func() {
					_ = w.reader.AwaitAll(t.Context(), user, []cid.Cid{pinsvctest.RawCID(1), pinsvctest.RawCID(2)})
				})
			}
			synctest.Wait()
		}
		refused := func(user pinsvc.User) {
			t.Helper()
			began := time.Now()
			isKind(t, "one more", w.reader.Await(t.Context(), user, pinsvctest.RawCID(1)), pinsvc.KindTooManyRequests)
			isKind(t, "one more list", w.reader.AwaitAll(t.Context(), user, []cid.Cid{pinsvctest.RawCID(1)}), pinsvc.KindTooManyRequests)
			if _, rewritten, _ := w.reader.Rewritten(t.Context(), user, record(pinsvctest.RawCID(1), 1), func() bool { return false }); rewritten || time.Since(began) != 0 {
				t.Errorf("%s was not refused at once", user)
			}
		}
		wait("mallory")
		refused("mallory")
		wait("alice")
		refused("bob")
		wg.Wait()
		isKind(t, "afterwards", w.reader.Await(t.Context(), "bob", pinsvctest.RawCID(1)), pinsvc.KindUnavailable)
		if n := len(w.reader.waiting.byUser); n != 0 || w.reader.waiting.taken != 0 {
			t.Errorf("%d users and %d requests are remembered", n, w.reader.waiting.taken)
		}
	})
}

func TestReader_ACancelledRequestEndsAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pinGet = func(ctx context.Context, _ peer.ID, _ api.Cid) (api.Pin, error) {
			<-ctx.Done()
			return api.Pin{}, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		isKind(t, "Await", w.reader.Await(ctx, "", pinsvctest.RawCID(1)), pinsvc.KindUnavailable)
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("after %s", took)
		}
	})
}

func TestRemoved_IsBounded(t *testing.T) {
	removed := NewRemoved()
	for i := range maxRemoved + 10 {
		removed.Add(rowOf(record(pinsvctest.RawCID(i), 1)))
	}
	if n := removed.written.Len(); n != maxRemoved {
		t.Errorf("%d are remembered", n)
	}
	if removed.has(record(pinsvctest.RawCID(0), 1)) || !removed.has(record(pinsvctest.RawCID(maxRemoved+9), 1)) {
		t.Error("the wrong ones are forgotten")
	}
}
