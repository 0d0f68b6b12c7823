package peerstatus

import (
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

const awayAfter = 5 * time.Minute

// pass lets time go by, in which these peers respond.
func (tt *trackerTest) pass(d time.Duration, responding ...peer.ID) {
	tt.SetPresence(responding, awayAfter)
	for ; d > 0; d -= 5 * time.Second {
		tt.clock.advance(5 * time.Second)
		tt.SetPresence(responding, awayAfter)
	}
}

func (tt *trackerTest) info() (replicas, details string) {
	row := tt.pin()
	info := tt.Summary(row.Placement, row.Vector).Info
	return info[infoReplicas], info[InfoDetails]
}

// A holder that is away for long is no replica, and the status stays.
func TestPresence_AHolderThatIsAwayIsNoReplica(t *testing.T) {
	for name, everywhere := range map[string]bool{"allocated": false, "everywhere": true} {
		t.Run(name, func(t *testing.T) {
			tt := newTrackerTest(t)
			want := "2/2"
			if everywhere {
				tt.everywhere()
				tt.SetMembers([]peer.ID{peerA, peerB})
			}
			tt.observe(peerA, api.TrackerStatusPinned, "", 0)
			tt.observe(peerB, api.TrackerStatusPinned, "", 0)
			tt.pass(time.Minute, peerA, peerB)
			since := tt.clock.now()
			if everywhere {
				tt.SetMembers([]peer.ID{peerA}) // Under CRDT it soon is no member.
			}
			tt.pass(awayAfter-time.Second, peerA)
			tt.SetPresence([]peer.ID{peerA}, awayAfter+time.Minute)
			if replicas, details := tt.info(); replicas != want || details != "" {
				t.Errorf("before the time: %s, %q", replicas, details)
			}
			tt.pass(10*time.Second, peerA)
			replicas, details := tt.info()
			if replicas != "1/2" || !strings.Contains(details, peerB.String()+" since "+since.UTC().Format(time.RFC3339)) ||
				!strings.Contains(details, "api.pinsvcapi.replica_away_after") {
				t.Errorf("%s, %q", replicas, details)
			}
			if tt.pin().Status != pinned || !tt.Away(peerB) || tt.Away(peerA) {
				t.Errorf("it is %s, away: %t, %t", tt.pin().Status, tt.Away(peerB), tt.Away(peerA))
			}
			if wanted, required := tt.Shortage(); wanted != 1 || required != 0 {
				t.Errorf("%d pins lack replicas, %d of what is required", wanted, required)
			}
			tt.pass(awayAfter, "D")
			if wanted, required := tt.Shortage(); wanted != 1 || required != 1 {
				t.Errorf("no holder is there: %d pins lack replicas, %d of what is required", wanted, required)
			}
			tt.pass(0, peerA, peerB)
			if replicas, details := tt.info(); replicas != want || details != "" {
				t.Errorf("after it came back: %s, %q", replicas, details)
			}
		})
	}
}

// A peer that was frozen itself has heard nobody, which says nothing of the others; so has one
// whose clock was set.
func TestPresence_AGapOfThisPeerMakesNobodyAway(t *testing.T) {
	for _, gap := range []time.Duration{time.Hour, -time.Hour} {
		tt := newTrackerTest(t)
		tt.pass(time.Minute, peerA, peerB)
		tt.clock.advance(gap)
		tt.pass(time.Minute, peerA)
		if tt.Away(peerB) {
			t.Errorf("after a gap of %s a peer is away", gap)
		}
		tt.pass(awayAfter, peerA)
		if !tt.Away(peerB) {
			t.Errorf("after a gap of %s no peer is ever away", gap)
		}
	}
}
