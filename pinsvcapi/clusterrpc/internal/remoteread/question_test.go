package remoteread

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestReader_ASilentPeerLeavesItOpen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pinGet = func(ctx context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == near {
				return api.Pin{}, state.ErrNotFound
			}
			return api.Pin{}, errors.New("dial backoff")
		}
		began := time.Now()
		isKind(t, "Await", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindUnavailable)
		if took := time.Since(began); took > DefaultTimeout {
			t.Errorf("it took %s", took)
		}
		w.alive = []peer.ID{self, near} // Its ping is gone.
		isKind(t, "then", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindNotFound)
	})
}

// Peers of ipfs-cluster-service refuse PinGet, and tell by the report of their tracker.
func TestReader_TheTrackerIsAnOracle(t *testing.T) {
	for status, want := range map[api.TrackerStatus]bool{
		api.TrackerStatusPinned: true, api.TrackerStatusPinQueued: true, api.TrackerStatusPinning: true,
		api.TrackerStatusPinError: true, api.TrackerStatusUnexpectedlyUnpinned: true,
		api.TrackerStatusRemote: true, api.TrackerStatusSharded: true,
		api.TrackerStatusUnpinned: false, api.TrackerStatusUnpinning: false,
		api.TrackerStatusUnpinQueued: false, api.TrackerStatusUnpinError: false,
	} {
		inWorld(t, func(t *testing.T, w *world) {
			rec := record(pinsvctest.RawCID(1), 1)
			w.pinGet = func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return api.Pin{}, errDenied }
			w.status = func(_ peer.ID, key api.Cid) (api.PinInfo, error) {
				return api.PinInfo{
					Cid: key, Name: "n", Created: rec.Timestamp, Metadata: rec.Metadata, Allocations: []peer.ID{far},
					PinInfoShort: api.PinInfoShort{Status: status},
				}, nil
			}
			got, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
			if found != want || !want && pinsvc.KindOf(err) != pinsvc.KindNotFound {
				t.Errorf("%s: found %t: %v", status, found, err)
			}
			created, _ := pinrecord.CreatedOf(rec)
			if gotCreated, _ := pinrecord.CreatedOf(got); found && (got.Name != "n" || !gotCreated.Equal(created) || len(got.Allocations) != 1) {
				t.Errorf("%s: record %+v", status, got)
			}
			before := w.asked.Load()
			_, _, _ = w.reader.Find(t.Context(), "", rec.Cid.Cid)
			if w.asked.Load() != before {
				t.Errorf("%s: a peer that refuses PinGet is asked for it each time", status)
			}
		})
	}
}

func TestReader_ATrackerThatCannotReadItsStateIsNoAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pinGet = func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return api.Pin{}, errDenied }
		w.status = func(peer.ID, api.Cid) (api.PinInfo, error) {
			return api.PinInfo{PinInfoShort: api.PinInfoShort{Status: api.TrackerStatusClusterError, Error: "closed"}}, nil
		}
		isKind(t, "Await", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindUnavailable)
	})
}

// A peer that does not trust this one answers nothing at all, which must not keep every unknown
// pin open for ever.
func TestReader_APeerThatRefusesAllIsNotCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pinGet = func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return api.Pin{}, errDenied }
		w.status = func(peer.ID, api.Cid) (api.PinInfo, error) { return api.PinInfo{}, errDenied }
		isKind(t, "Await", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindNotFound)
	})
}

func TestReader_UntrustedPeersAreNotAsked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.reader.cfg.Trusted = func(p peer.ID) bool { return p == near }
		w.pinGet = func(_ context.Context, p peer.ID, key api.Cid) (api.Pin, error) {
			if p == far {
				return record(key.Cid, 1), nil
			}
			return api.Pin{}, state.ErrNotFound
		}
		isKind(t, "Await", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindNotFound)
	})
}

// In the first seconds of a peer no pings are known.
func TestReader_ConnectedPeersAreAskedAndNeedNotAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rec := record(pinsvctest.RawCID(1), 1)
		w.alive = []peer.ID{self}
		w.reader.cfg.Connected = func() []peer.ID { return []peer.ID{near, far} }
		w.pinGet = func(_ context.Context, p peer.ID, key api.Cid) (api.Pin, error) {
			if p == near {
				return api.Pin{}, errors.New("stream reset")
			}
			if key.Equals(rec.Cid) {
				return rec, nil
			}
			return api.Pin{}, state.ErrNotFound
		}
		if _, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid); !found {
			t.Error(err)
		}
		isKind(t, "another pin", w.reader.Await(t.Context(), "", pinsvctest.RawCID(2)), pinsvc.KindNotFound)
	})
}

// The pings of a peer whose clock is back have expired when they come. It lives, and may be the only
// one that has the pin.
func TestReader_APeerWhoseClockIsBehindMustAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive = []peer.ID{self, near}
		w.reader.cfg.Connected = func() []peer.ID { return []peer.ID{near, far} }
		w.pinGet = func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == far {
				return api.Pin{}, errors.New("stream reset")
			}
			return api.Pin{}, state.ErrNotFound
		}
		isKind(t, "its clock is right", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindNotFound)
		w.reader.cfg.ClockBehind = func(p peer.ID) bool { return p == far }
		isKind(t, "its clock is back", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindUnavailable)
		w.reader.cfg.Connected = func() []peer.ID { return []peer.ID{near} }
		isKind(t, "and it is gone", w.reader.Await(t.Context(), "", pinsvctest.RawCID(1)), pinsvc.KindNotFound)
	})
}

// A peer that has just started is connected to nobody, and had no time to hear a ping.
func TestReader_AwaitedPeersMustAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rec, start := record(pinsvctest.RawCID(1), 1), time.Now()
		w.alive = nil
		w.reader.cfg.Awaited = func() []peer.ID { return []peer.ID{self, far} }
		w.setPinGet(func(_ context.Context, p peer.ID, key api.Cid) (api.Pin, error) {
			switch {
			case time.Since(start) < time.Second:
				return api.Pin{}, errors.New("no route")
			case p == far && key.Equals(rec.Cid):
				return rec, nil
			}
			return api.Pin{}, state.ErrNotFound
		})
		if got, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid); !found || !got.Cid.Equals(rec.Cid) {
			t.Errorf("a pin that a peer has which is connected a second later: %v", err)
		}
		isKind(t, "a pin that it has not", w.reader.Await(t.Context(), "", pinsvctest.RawCID(2)), pinsvc.KindNotFound)
		start = time.Now().Add(time.Hour)
		isKind(t, "it cannot be reached", w.reader.Await(t.Context(), "", pinsvctest.RawCID(2)), pinsvc.KindUnavailable)
		w.reader.cfg.Awaited = func() []peer.ID { return nil } // There was time.
		isKind(t, "then", w.reader.Await(t.Context(), "", pinsvctest.RawCID(2)), pinsvc.KindNotFound)
	})
}

// A peer that was away for long and is starting has sent no ping yet, and may be the only one that
// has the pin. Until its state is complete nothing is said of the pin.
func TestReader_APeerThatIsStartingLeavesItOpen(t *testing.T) {
	for name, text := range map[string]string{
		"its state is not complete": "the peer is starting: its state is not complete",
		"its cluster is not there":  "failed to negotiate protocol: protocols not supported: [/ipfscluster/1.0/rpc]",
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.alive = []peer.ID{self, near}
				w.reader.cfg.Connected = func() []peer.ID { return []peer.ID{far} }
				started := time.Now().Add(time.Hour)
				rec := record(pinsvctest.RawCID(1), 1)
				w.setPinGet(func(_ context.Context, p peer.ID, key api.Cid) (api.Pin, error) {
					switch {
					case p == near || !key.Equals(rec.Cid):
						return api.Pin{}, state.ErrNotFound
					case time.Now().Before(started):
						return api.Pin{}, errors.New(text)
					}
					return rec, nil
				})
				isKind(t, "Await", w.reader.Await(t.Context(), "", rec.Cid.Cid), pinsvc.KindUnavailable)
				_, _, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
				isKind(t, "Find", err, pinsvc.KindUnavailable)
				started = time.Now().Add(time.Second)
				if _, elsewhere, err := w.reader.Find(t.Context(), "", rec.Cid.Cid); !elsewhere || err != nil {
					t.Errorf("after its start: %t, %v", elsewhere, err)
				}
			})
		})
	}
}
