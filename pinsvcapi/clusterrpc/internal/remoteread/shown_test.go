package remoteread

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// shows has a client of this peer read the record that far has.
func (w *world) shows(t *testing.T, rec api.Pin) {
	t.Helper()
	w.pinGet = func(_ context.Context, p peer.ID, key api.Cid) (api.Pin, error) {
		if p == far && key.Equals(rec.Cid) {
			return rec, nil
		}
		return api.Pin{}, state.ErrNotFound
	}
	if _, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid); !found {
		t.Fatalf("the record of the other peer is not found: %v", err)
	}
}

// has gives the state of this peer a record.
func (w *world) has(rec api.Pin) {
	w.mu.Lock()
	w.looks = func(cid.Cid) (api.Pin, bool) { return rec, true }
	w.mu.Unlock()
	w.view.Put(rowOf(rec))
}

// A write after a read through one peer comes after what was read.
func TestReader_AWriteWaitsForARecordThatWasShown(t *testing.T) {
	rec := record(pinsvctest.RawCID(1), 1)
	far404 := func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return api.Pin{}, state.ErrNotFound }
	farSilent := func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
		if p == far {
			return api.Pin{}, errors.New("stream reset")
		}
		return api.Pin{}, state.ErrNotFound
	}
	for name, then := range map[string]struct {
		happens func(w *world)
		allowed bool
	}{
		"nothing":              {func(*world) {}, false},
		"it arrives":           {func(w *world) { time.AfterFunc(time.Second, func() { w.has(rec) }) }, true},
		"an older one arrives": {func(w *world) { time.AfterFunc(time.Second, func() { w.has(record(rec.Cid.Cid, 0)) }) }, false},
		"a newer one arrives": {func(w *world) {
			time.AfterFunc(time.Second, func() {
				w.mu.Lock()
				w.past = []api.Pin{rec}
				w.mu.Unlock()
				w.has(record(rec.Cid.Cid, 2))
			})
		}, true},
		"it was removed": {func(w *world) { w.setPinGet(far404) }, true},
		"the peer is away": {func(w *world) {
			w.alive = []peer.ID{self, near}
			w.setPinGet(farSilent)
		}, false},
		"the peer is away for long": {func(w *world) {
			w.alive = []peer.ID{self, near}
			w.setPinGet(farSilent)
			time.Sleep(shownFor)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.shows(t, rec)
				then.happens(w)
				began := time.Now()
				err := w.reader.AwaitShown(t.Context(), "", rec.Cid.Cid)
				if then.allowed && err != nil {
					t.Error(err)
				}
				if !then.allowed {
					isKind(t, "a write", err, pinsvc.KindUnavailable)
				}
				if took := time.Since(began); took > 2*DefaultTimeout {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// What was shown is not "not found" a moment later because its peer was cut off: it may be there.
func TestReader_AReadOfAPinThatWasShown(t *testing.T) {
	rec := record(pinsvctest.RawCID(1), 1)
	for name, then := range map[string]struct {
		happens func(w *world)
		kind    pinsvc.Kind
	}{
		"nothing":         {func(*world) {}, pinsvc.KindUnavailable},
		"it was removed":  {func(w *world) { w.removed.Add(rowOf(rec)) }, pinsvc.KindNotFound},
		"it was long ago": {func(*world) { time.Sleep(shownFor) }, pinsvc.KindNotFound},
		"the peer says no": {func(w *world) {
			w.setPinGet(func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return api.Pin{}, state.ErrNotFound })
		}, pinsvc.KindNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.shows(t, rec)
				w.alive = []peer.ID{self, near}
				w.setPinGet(func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
					if p == far {
						return api.Pin{}, errors.New("stream reset")
					}
					return api.Pin{}, state.ErrNotFound
				})
				then.happens(w)
				_, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
				if found {
					t.Error("found")
				}
				isKind(t, "a read", err, then.kind)
			})
		})
	}
}

// A read does not show an older record than the one before, although that is what this peer has now,
// or another one.
func TestReader_AReadIsNotOlderThanTheOneBefore(t *testing.T) {
	rec, old, newer := record(pinsvctest.RawCID(1), 2), record(pinsvctest.RawCID(1), 1), record(pinsvctest.RawCID(1), 3)
	for name, then := range map[string]struct {
		here  *api.Pin // this peer's record
		past  []api.Pin
		there func(p peer.ID) (api.Pin, error) // the others'
		lags  bool
		found int64 // when the record of another peer that is shown was written; 0: none is
		kind  pinsvc.Kind
	}{
		"an older one arrives": {here: &old, lags: true, found: 2},
		"an older one arrives, and the peer has a newer one": {here: &old, lags: true, found: 3, there: func(p peer.ID) (api.Pin, error) {
			if p == far {
				return newer, nil
			}
			return old, nil
		}},
		"an older one arrives, and the peer is away": {here: &old, lags: true, found: 2, there: func(p peer.ID) (api.Pin, error) {
			if p == far {
				return api.Pin{}, errors.New("stream reset")
			}
			return old, nil
		}},
		"an older one arrives, and the peer has removed it": {here: &old, lags: true, kind: pinsvc.KindNotFound, there: func(peer.ID) (api.Pin, error) {
			return api.Pin{}, state.ErrNotFound
		}},
		"only another peer has an older one": {found: 2, there: func(p peer.ID) (api.Pin, error) {
			if p == far {
				return api.Pin{}, errors.New("stream reset")
			}
			return old, nil
		}},
		"removed there, and another peer has another one": {kind: pinsvc.KindUnavailable, there: func(p peer.ID) (api.Pin, error) {
			if p == far {
				return api.Pin{}, state.ErrNotFound
			}
			return newer, nil
		}},
		"it arrives":          {here: &rec},
		"a newer one arrives": {here: &newer, past: []api.Pin{old, rec, newer}},
		"another one arrives": {here: &newer, past: []api.Pin{old, newer}, lags: true, found: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.shows(t, rec)
				w.past = then.past
				if then.here != nil {
					w.has(*then.here)
				}
				if then.there != nil {
					w.setPinGet(func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) { return then.there(p) })
				}
				if got := w.reader.Lags(t.Context(), rec.Cid.Cid); got != then.lags {
					t.Fatalf("this peer lags behind: %v", got)
				}
				if then.here != nil && !then.lags {
					return
				}
				got, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
				switch {
				case then.kind != pinsvc.KindInternal:
					isKind(t, "a read", err, then.kind)
				case err != nil || !found || got.Timestamp.Unix() != then.found:
					t.Errorf("read %v of %s, %v", found, got.Timestamp, err)
				}
				if then.lags && then.kind == pinsvc.KindInternal {
					isKind(t, "a removal", w.reader.Await(t.Context(), "", rec.Cid.Cid), pinsvc.KindUnavailable)
				}
			})
		})
	}
}

func TestReader_AWriteOfAPinThatNobodyWasShownAsksNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		began := time.Now()
		if err := w.reader.AwaitShown(t.Context(), "", pinsvctest.RawCID(1)); err != nil {
			t.Error(err)
		}
		if n := w.asked.Load(); n != 0 || time.Since(began) != 0 {
			t.Errorf("%d calls, %s", n, time.Since(began))
		}
	})
}

// The peer whose record clients were shown never comes back, and with it its record. After shownFor
// the record that all other peers have is shown again, although a client polls the pin meanwhile.
func TestReader_ALostRecordIsNotShownForEver(t *testing.T) {
	rec, old := record(pinsvctest.RawCID(1), 2), record(pinsvctest.RawCID(1), 1)
	inWorld(t, func(t *testing.T, w *world) {
		w.shows(t, rec)
		w.has(old)
		w.past = []api.Pin{old}
		w.alive = []peer.ID{self, near}
		w.setPinGet(func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == far {
				return api.Pin{}, errors.New("stream reset")
			}
			return old, nil
		})
		began := time.Now()
		for w.reader.Lags(t.Context(), rec.Cid.Cid) {
			got, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
			if !found || got.Timestamp != rec.Timestamp {
				t.Errorf("after %s: found %t, written %s: %v", time.Since(began), found, got.Timestamp, err)
			}
			if time.Since(began) > shownFor+10*time.Second {
				t.Fatalf("it is shown for %s", time.Since(began))
			}
			time.Sleep(10 * time.Second)
		}
		if took := time.Since(began); took < shownFor-time.Second {
			t.Errorf("it is shown for %s only", took)
		}
		if err := w.reader.AwaitShown(t.Context(), "", rec.Cid.Cid); err != nil {
			t.Errorf("a write: %v", err)
		}
	})
}

// While the peer answers that it has the record, it is shown, however long that takes to arrive.
func TestReader_ARecordIsShownAsLongAsItsPeerHasIt(t *testing.T) {
	rec, old := record(pinsvctest.RawCID(1), 2), record(pinsvctest.RawCID(1), 1)
	inWorld(t, func(t *testing.T, w *world) {
		w.shows(t, rec)
		w.has(old)
		w.past = []api.Pin{old}
		for range 5 {
			time.Sleep(shownFor / 2)
			if got, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid); !found || got.Timestamp != rec.Timestamp {
				t.Fatalf("found %t: %v", found, err)
			}
		}
	})
}

func TestShownPins_AreBoundedInBytes(t *testing.T) {
	shown := newShownPins()
	rec := record(pinsvctest.RawCID(1), 1)
	rec.Metadata["large"] = strings.Repeat("x", 40<<10)
	pin := newShownPin(far, rec)
	for i := range 2 * maxShownBytes / pin.size() {
		shown.add(pinsvctest.RawCID(i), pin)
		shown.add(pinsvctest.RawCID(i), pin) // Again: it counts once.
	}
	if n := shown.byPin.Len(); shown.bytes != n*pin.size() || shown.bytes > maxShownBytes || shown.bytes < maxShownBytes-pin.size() {
		t.Errorf("%d records, %d bytes counted", n, shown.bytes)
	}
	if _, ok := shown.pin(pinsvctest.RawCID(0)); ok {
		t.Error("the oldest is not forgotten")
	}
	for i := range 2 * maxShownBytes / pin.size() {
		shown.forget(pinsvctest.RawCID(i))
	}
	if shown.bytes != 0 {
		t.Errorf("%d bytes are counted when nothing is left", shown.bytes)
	}
}
