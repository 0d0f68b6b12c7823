package poll

import (
	"context"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// late is a client whose streams of reports come when something else has happened.
type late struct {
	Client
	meanwhile func()
}

func (c late) TrackerStatuses(ctx context.Context, p peer.ID, filter api.TrackerStatus, each func(api.PinInfo) error) error {
	var reports []api.PinInfo
	err := c.Client.TrackerStatuses(ctx, p, filter, func(info api.PinInfo) error {
		reports = append(reports, info)
		return nil
	})
	c.meanwhile()
	for _, info := range reports {
		if err := each(info); err != nil {
			return err
		}
	}
	return err
}

// wantNoLoss checks that no content is to be fetched again.
func (f fixture) wantNoLoss() {
	f.t.Helper()
	if retries := f.cfg.Tracker.DueRetries(10); len(retries) > 0 {
		f.t.Errorf("retries %+v", retries)
	}
}

// The tracker has read the pins of its IPFS node, and then the state. What was pinned in between is not lost.
func TestScan_WhatIsPinnedMeanwhileIsNotLost(t *testing.T) {
	for name, asked := range map[string]bool{"and nobody has asked": false, "and a client has seen it": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.pin(1, api.TrackerStatusUnexpectedlyUnpinned)
			f.cfg.Client = late{f.cfg.Client, func() {
				f.report(1, api.TrackerStatusPinned)
				if asked {
					f.pinAt(t.Context(), self, api.NewCid(pinsvctest.RawCID(1)))
				}
			}}
			if err := f.Scan(t.Context(), self); err != nil {
				t.Fatal(err)
			}
			f.want(1, pinned)
			f.wantNoLoss()
		})
	}
}

// Content that is fetched when a poll begins is there when its reports come, and a client has seen that.
func TestActive_WhatIsPinnedMeanwhileIsNotLost(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning)
	f.pin(2, api.TrackerStatusPinning)
	f.cfg.Client = late{f.cfg.Client, func() {
		f.report(1, api.TrackerStatusPinned)
		f.pinAt(t.Context(), self, api.NewCid(pinsvctest.RawCID(1)))
	}}
	f.poll()
	f.want(1, pinned)
	f.want(2, pinning)
	f.wantNoLoss()
}

// Of very many pins that are lost some are asked about, and of a peer that does not answer that none: the reports of
// the scan are entered then.
func TestScan_FindsAnyNumberOfLostPins(t *testing.T) {
	for name, failure := range map[string]error{"": nil, "single questions fail": errBroken} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			const pins = 2 * maxAsked
			for n := range pins {
				f.pin(n, api.TrackerStatusPinned)
			}
			for _, status := range []api.TrackerStatus{api.TrackerStatusPinned, api.TrackerStatusUnexpectedlyUnpinned} {
				for n := range pins {
					f.report(n, status)
				}
				f.fake.Fail("PinTracker.Status", failure)
				if err := f.Scan(t.Context(), self); err != nil {
					t.Fatal(err)
				}
			}
			for n := range pins {
				f.want(n, pinning)
			}
			if n := f.fake.Called("PinTracker.Status"); n != maxAsked {
				t.Errorf("%d questions about single pins", n)
			}
		})
	}
}
