package poll

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
)

func TestQueuePosition(t *testing.T) {
	f := newFixture(t)
	if at, of := f.QueuePosition(key(1)); at != 0 || of != 0 {
		t.Errorf("%d of %d before the first poll", at, of)
	}
	f.pin(0, api.TrackerStatusPinning)
	for n := 3; n > 0; n-- {
		f.pin(n, api.TrackerStatusPinQueued)
		info := clusterfake.Report(api.TrackerStatusPinQueued, "")
		info.TS = time.Unix(1_800_000_000+int64(n), 0)
		f.fake.Report(key(n), info)
	}
	f.poll()
	for n, want := range []int{0, 1, 2, 3, 0} {
		if at, of := f.QueuePosition(key(n)); at != want || of != 3 {
			t.Errorf("pin %d is at %d of %d, want %d of 3", n, at, of, want)
		}
	}
}

// The queues of other peers are not known in full.
func TestQueuePosition_IsThatOfThisPeerAlone(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinQueued, other)
	f.poll()
	f.want(1, queued)
	if at, of := f.QueuePosition(key(1)); at != 0 || of != 0 {
		t.Errorf("%d of %d", at, of)
	}
}
