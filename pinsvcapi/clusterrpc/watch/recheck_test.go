package watch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

func TestRecheck_TracksWhatTheStateHas(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		var events []clusterrpc.Event
		defer tracker.Subscribe(func(e clusterrpc.Event) { events = append(events, e) })()
		p.set(&pin)
		tracker.Recheck(pin, true)
		synctest.Wait()
		p.expect(t, "at once", "track")
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "track")
		if len(events) == 0 || events[0].Removed || events[0].CID != pin.Cid.Cid {
			t.Errorf("events %+v", events)
		}
	})
}

func TestRecheck_UntracksWhatIsGone(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		tracker.Recheck(api.PinCid(pin.Cid), false)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack")
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		if len(tracker.removals) != 0 {
			t.Error("it is remembered for ever")
		}
	})
}
