package peerstatus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Under CRDT a stopped peer drops out of the members, and a pin that is pinned
// everywhere has no allocations.
func TestMembers_HolderThatDepartedStillCountsForAnHour(t *testing.T) {
	tt := newTrackerTest(t)
	tt.everywhere()
	tt.observe(peerB, api.TrackerStatusPinned, "", 0)
	tt.wantState("it is pinned", peerB, Pinned, pinned)
	statusOf := func(members ...peer.ID) pinsvc.Status {
		tt.SetMembers(members)
		return tt.pin().Status
	}
	if got := statusOf(peerA, peerB, peerC); got != pinned { // The last time that B is a member.
		t.Errorf("%s, but a member holds it", got)
	}
	if got := statusOf(peerA); got != pinned {
		t.Errorf("%s, but one peer holds it", got)
	}
	tt.clock.advance(departedFor)
	if got := statusOf(peerA); got != pinned {
		t.Errorf("%s at the end of the hour", got)
	}
	tt.clock.advance(departedFor)
	if got := statusOf(peerA); got == pinned {
		t.Errorf("%s, long after the holder left", got)
	}
	if got := statusOf(peerA, peerB); got != pinned {
		t.Errorf("%s, but the holder is back with its state", got)
	}
}

// Under Raft who is no member any more was removed: for an hour its copies had been counted as "4/4" of three peers.
func TestMembers_WhereTheyStayARemovedHolderDoesNotCount(t *testing.T) {
	tt := newTrackerTest(t)
	tt.placements.members.stay = true
	tt.everywhere()
	for _, p := range []peer.ID{peerA, peerB} {
		tt.observe(p, api.TrackerStatusPinned, "", 0)
	}
	for _, test := range []struct {
		members []peer.ID
		want    string
	}{
		{[]peer.ID{peerA, peerB, peerC}, "2/3"},
		{[]peer.ID{peerA, peerC, "D"}, "1/3"},
		{[]peer.ID{peerA, peerB, "D"}, "2/3"}, // It is back with its state.
	} {
		tt.SetMembers(test.members)
		pin := tt.pin()
		s := tt.Summary(pin.Placement, pin.Vector)
		if got := fmt.Sprintf("%d/%d", s.Pinned, s.Holders); got != test.want {
			t.Errorf("%s replicas with the members %v, want %s", got, test.members, test.want)
		}
	}
}

// Only what a departed member confirmed counts, and it is no holder any more.
func TestMembers_DepartedMembersDoNotFailAPin(t *testing.T) {
	tt := newTrackerTest(t)
	tt.everywhere()
	for _, p := range []peer.ID{peerA, peerB, peerC} {
		for attempt := range 3 {
			tt.observe(p, api.TrackerStatusPinError, textRefused, attempt+1)
		}
	}
	tt.wantState("all failed", peerA, Failed, failed)
	tt.SetMembers([]peer.ID{peerA, "D"})
	tt.wantState("a new member has not failed", "D", Unknown, queued)
	if _, counts := tt.stateOf(peerB); counts {
		t.Error("a departed member should hold the pin")
	}
	if ids, required := tt.Holders(tt.pin().Placement); !slices.Equal(ids, []peer.ID{peerA, "D"}) || required != 1 {
		t.Errorf("holders %v, %d required", ids, required)
	}
}

// The text must not name a failure of a peer that does not count.
func TestMembers_FailureOfADepartedMemberIsNotTold(t *testing.T) {
	tt := newTrackerTest(t)
	tt.everywhere()
	for attempt := range 3 {
		tt.observe(peerB, api.TrackerStatusPinError, textRefused, attempt+1)
	}
	tt.SetMembers([]peer.ID{peerA, peerC})
	tt.DueRetries(10)
	if text, attempts := tt.Details(tt.key, tt.pin().Status); text != "" || attempts != 0 {
		t.Errorf("status %s, details %q, %d attempts of a peer that left", tt.pin().Status, text, attempts)
	}
}

func TestMembers_ChangeIsReportedOnce(t *testing.T) {
	tt := newTrackerTest(t)
	if tt.SetMembers([]peer.ID{peerC, peerA, peerB, peerA}) {
		t.Error("the order of the members, or one that is named twice, is a change")
	}
	if want := []peer.ID{peerA, peerB, peerC}; !slices.Equal(tt.Members(), want) {
		t.Errorf("members %v, want %v", tt.Members(), want)
	}
	if !tt.SetMembers([]peer.ID{peerA}) || tt.SetMembers([]peer.ID{peerA}) {
		t.Error("members that leave are one change")
	}
	tt.clock.advance(departedFor + time.Second)
	if !tt.SetMembers([]peer.ID{peerA}) || tt.SetMembers([]peer.ID{peerA}) {
		t.Error("the end of the hour is one change")
	}
}
