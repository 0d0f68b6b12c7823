package watch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
)

// absent is a tracker with a status.
type absent struct {
	*peerState
	status api.TrackerStatus
}

func (a *absent) Status(context.Context, api.Cid) api.PinInfo {
	return api.PinInfo{PinInfoShort: api.PinInfoShort{Status: a.status}}
}

func TestUntrackAbsent(t *testing.T) {
	for name, test := range map[string]struct {
		status api.TrackerStatus
		held   bool
		begun  bool
	}{
		"the removal failed":          {api.TrackerStatusUnpinError, false, true},
		"nobody knows it":             {api.TrackerStatusUnpinned, false, true},
		"the state has it":            {api.TrackerStatusPinned, true, false},
		"it is being pinned":          {api.TrackerStatusPinning, false, false},
		"it is about to be pinned":    {api.TrackerStatusPinQueued, false, false},
		"the state has another's pin": {api.TrackerStatusRemote, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &peerState{}
			tracker := NewTracker(&absent{p, test.status}, self, func(context.Context) (state.ReadOnly, error) { return p, nil })
			pin := pinOf(t)
			if test.held {
				p.set(&pin)
			}
			begun, err := tracker.UntrackAbsent(t.Context(), pin.Cid)
			if err != nil || begun != test.begun {
				t.Errorf("%s: begun %t, %v", name, begun, err)
			}
			if !test.begun {
				time.Sleep(time.Hour)
				p.expect(t, name)
			} else {
				// The record comes after all.
				p.set(&pin)
				time.Sleep(time.Hour)
				p.expect(t, name, "untrack", "track")
			}
			if err := tracker.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
