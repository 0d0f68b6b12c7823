package remoteread

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestReader_Rewritten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mine := record(pinsvctest.RawCID(1), 100)
		theirs := mine
		w.pinGet = func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == far {
				return theirs, nil
			}
			return api.Pin{}, errors.New("stream reset")
		}
		never, always := func() bool { return false }, func() bool { return true }
		if _, rewritten, _ := w.reader.Rewritten(t.Context(), "", mine, never); rewritten {
			t.Error("the same record is another one")
		}
		theirs.Name = "after" // In the same second.
		began := time.Now()
		if other, rewritten, here := w.reader.Rewritten(t.Context(), "", mine, never); !rewritten || here || other.Name != "after" {
			t.Errorf("%v %t %t", other, rewritten, here)
		}
		if took := time.Since(began); took > 2*readPatience {
			t.Errorf("it took %s", took)
		}
		if _, rewritten, here := w.reader.Rewritten(t.Context(), "", mine, always); !rewritten || !here {
			t.Errorf("%t %t", rewritten, here)
		}
		w.removed.Add(rowOf(theirs))
		if _, rewritten, _ := w.reader.Rewritten(t.Context(), "", mine, never); rewritten {
			t.Error("a record that was removed here counts")
		}
	})
}

// Another peer is behind: it has the record before the one that failed here, which this peer's state
// had as well. That is no later request.
func TestReader_AnOlderRecordElsewhereIsNoRewrite(t *testing.T) {
	old, rec := record(pinsvctest.RawCID(1), 1), record(pinsvctest.RawCID(1), 2)
	inWorld(t, func(t *testing.T, w *world) {
		w.has(rec)
		w.past = []api.Pin{old, rec}
		w.setPinGet(func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == far {
				return old, nil
			}
			return rec, nil
		})
		other, rewritten, _ := w.reader.Rewritten(t.Context(), "", rec, func() bool { return false })
		if rewritten {
			t.Errorf("rewritten: the record of %d counts, that of this peer is of %d", other.Timestamp.Unix(), rec.Timestamp.Unix())
		}
	})
}
