package watch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/libp2p/go-libp2p/core/peer"
)

// absent is a tracker with a status.
type absent struct {
	*peerState
	status api.TrackerStatus
	asked  int
}

func (a *absent) Status(context.Context, api.Cid) api.PinInfo {
	a.asked++
	return api.PinInfo{PinInfoShort: api.PinInfoShort{Status: a.status}}
}

func TestUntrackAbsent(t *testing.T) {
	none, ours, others := (*api.Pin)(nil), pinOf(t), pinOf(t)
	others.ReplicationFactorMin, others.ReplicationFactorMax, others.Allocations = 1, 1, []peer.ID{"other"}
	for name, test := range map[string]struct {
		status api.TrackerStatus
		state  *api.Pin
		begun  bool
	}{
		"the removal failed":          {api.TrackerStatusUnpinError, none, true},
		"nobody knows it":             {api.TrackerStatusUnpinned, none, true},
		"the state has it":            {api.TrackerStatusPinned, &ours, false},
		"it is being pinned":          {api.TrackerStatusPinning, none, false},
		"it is about to be pinned":    {api.TrackerStatusPinQueued, none, false},
		"the state has another's pin": {api.TrackerStatusRemote, &others, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &peerState{pin: test.state}
			inner := &absent{p, test.status, 0}
			tracker := NewTracker(inner, self, func(context.Context) (state.ReadOnly, error) { return p, nil })
			begun, err := tracker.UntrackAbsent(t.Context(), ours.Cid)
			if err != nil || begun != test.begun {
				t.Errorf("%s: begun %t, %v", name, begun, err)
			}
			if test.state == &ours && inner.asked > 0 { // By upstream's tracker.
				t.Errorf("%s: the IPFS node is asked for its status", name)
			}
			if !test.begun {
				time.Sleep(time.Hour)
				p.expect(t, name)
			} else {
				// The record comes after all.
				p.set(&ours)
				time.Sleep(time.Hour)
				p.expect(t, name, "untrack", "track")
			}
			if err := tracker.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
