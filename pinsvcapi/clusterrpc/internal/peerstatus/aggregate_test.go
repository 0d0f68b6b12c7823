package peerstatus

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func peerIDs(n int) []peer.ID {
	ids := make([]peer.ID, n)
	for i := range ids {
		ids[i] = peer.ID(fmt.Sprintf("peer %d", i))
	}
	return ids
}

// allocatedTo is a record that the first n peers should hold.
func allocatedTo(factorMin, n int) api.Pin {
	rec := api.PinCid(api.CidUndef)
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = factorMin, max(factorMin, n)
	rec.Allocations = peerIDs(n)
	return rec
}

// onEveryPeer is a record that all members should hold.
func onEveryPeer() api.Pin {
	rec := api.PinCid(api.CidUndef)
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = -1, -1
	return rec
}

// summaryOf is the summary of a record from the states of peers, entered in any
// order and also for peers that should not hold it.
func summaryOf(rec api.Pin, members []peer.ID, states map[peer.ID]State) Summary {
	s := newPlacements()
	s.setMembers(members, time.Unix(1_800_000_000, 0))
	placement, vector := s.of(rec), uint32(0)
	for p, st := range states {
		vector = s.withState(placement, vector, p, st)
	}
	return *s.summary(placement, vector)
}

// TestCounts_Status has a row for every sentence of D5 that is about the states of
// several peers.
func TestCounts_Status(t *testing.T) {
	tests := []struct {
		name    string
		rec     api.Pin
		members int
		states  []State
		want    pinsvc.Status
	}{
		{"enough hold it", allocatedTo(2, 3), 3, []State{Pinned, Pinned, Queued}, pinned},
		{"all hold it", allocatedTo(2, 3), 3, []State{Pinned, Pinned, Pinned}, pinned},
		{"one in error does not fail what enough hold", allocatedTo(2, 3), 3, []State{Pinned, Pinned, Failed}, pinned},
		{"one unreachable does not fail what enough hold", allocatedTo(2, 3), 3, []State{Pinned, Pinned, Unknown}, pinned},
		{"too few hold it yet", allocatedTo(2, 3), 3, []State{Pinned, Queued, Queued}, pinning},
		{"the minimum is capped by the allocations", allocatedTo(3, 2), 3, []State{Pinned, Pinned}, pinned},
		{"a minimum of none is one", allocatedTo(0, 2), 2, []State{Pinned, Queued}, pinned},
		{"a negative minimum with allocations is one", allocatedTo(-1, 2), 2, []State{Queued, Pinned}, pinned},
		{"everywhere needs one", onEveryPeer(), 3, []State{Queued, Pinned, Failed}, pinned},
		{"peers that are not allocated do not count", allocatedTo(1, 1), 3, []State{Queued, Pinned, Pinned}, queued},
		{"failures of peers that are not allocated do not count", allocatedTo(1, 1), 3, []State{Pinned, Failed, Failed}, pinned},
		{"enough cannot be reached", allocatedTo(2, 3), 3, []State{Pinned, Failed, Failed}, failed},
		{"the only one failed", allocatedTo(1, 1), 1, []State{Failed}, failed},
		{"everywhere fails when all failed", onEveryPeer(), 2, []State{Failed, Failed}, failed},
		{"everywhere is not failed while one has not failed", onEveryPeer(), 2, []State{Failed, Queued}, queued},
		{"one that failed leaves enough others", allocatedTo(1, 2), 2, []State{Failed, Queued}, queued},
		{"an unreachable peer has not failed", allocatedTo(1, 2), 2, []State{Failed, Unknown}, queued},
		{"a peer without its IPFS node has not failed", allocatedTo(1, 1), 1, []State{Waiting}, queued},
		{"a peer with attempts left has not failed", allocatedTo(1, 1), 1, []State{Retrying}, pinning},
		{"any fetches", allocatedTo(1, 2), 2, []State{Queued, Pinning}, pinning},
		{"lost content is fetched again", allocatedTo(1, 1), 1, []State{Lost}, pinning},
		{"a confirmation of before counts", allocatedTo(2, 2), 2, []State{Rewritten, Pinned}, pinned},
		{"nobody has begun", allocatedTo(1, 2), 2, []State{Queued, Queued}, queued},
		{"nobody has reported", allocatedTo(1, 2), 2, []State{Unknown, Unknown}, queued},
		{"nobody should hold it", allocatedTo(1, 0), 2, []State{}, queued},
	}
	for _, tt := range tests {
		members := peerIDs(tt.members)
		states := make(map[peer.ID]State)
		for i, s := range tt.states {
			states[members[i]] = s
		}
		if got := summaryOf(tt.rec, members, states); got.Status != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got.Status, tt.want)
		}
	}
}

func drawState(t *rapid.T) State {
	return State(rapid.IntRange(0, numStates-1).Draw(t, "state"))
}

func drawStates(t *rapid.T, peers []peer.ID) map[peer.ID]State {
	states := make(map[peer.ID]State)
	for _, p := range peers {
		if rapid.Bool().Draw(t, "reports") {
			states[p] = drawState(t)
		}
	}
	return states
}

func countStates(holders []peer.ID, of map[peer.ID]State, states ...State) (n int) {
	for _, p := range holders {
		for _, s := range states {
			if of[p] == s {
				n++
			}
		}
	}
	return n
}

// TestCounts_Laws states D5 again, as laws over any states of any peers.
func TestCounts_Laws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := peerIDs(rapid.IntRange(1, 6).Draw(t, "members"))
		rec := onEveryPeer()
		if rapid.Bool().Draw(t, "allocated") {
			rec = allocatedTo(rapid.IntRange(-1, 6).Draw(t, "min"), rapid.IntRange(0, len(members)).Draw(t, "allocations"))
		}
		states := drawStates(t, members)
		holders := HoldersOf(rec, members)
		required := 1
		if !rec.IsPinEverywhere() {
			required = max(1, min(rec.ReplicationFactorMin, len(rec.Allocations)))
		}
		if got := RequiredReplicas(rec); got != required {
			t.Fatalf("%d replicas required, want %d", got, required)
		}
		sum := summaryOf(rec, members, states)
		got := sum.Status
		confirmed, gaveUp := countStates(holders, states, Pinned, Rewritten), countStates(holders, states, Failed)
		begun := countStates(holders, states, Pinning, Lost, Retrying) > 0 || confirmed > 0

		want := queued
		switch {
		case confirmed >= required:
			want = pinned
		case gaveUp > 0 && len(holders)-gaveUp < required:
			want = failed
		case begun:
			want = pinning
		}
		if got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if got == pinned && confirmed == 0 {
			t.Fatal("pinned, but nobody confirmed it")
		}
		if failing := countStates(holders, states, Lost, Waiting, Retrying, Failed) > 0; sum.Failing != failing {
			t.Fatalf("failing is %t, want %t", sum.Failing, failing)
		}
		if sum.Pinned != confirmed || sum.Holders != len(holders) {
			t.Fatalf("%d/%d replicas, want %d/%d", sum.Pinned, sum.Holders, confirmed, len(holders))
		}

		// Reports of peers that should not hold the pin change nothing.
		stranger := peer.ID("stranger")
		states[stranger] = drawState(t)
		if again := summaryOf(rec, members, states).Status; again != got {
			t.Fatalf("a stranger made %s of %s", again, got)
		}
		// A peer without a report neither fails a pin nor pins it.
		if len(holders) > 0 {
			silent := rapid.SampledFrom(holders).Draw(t, "silent")
			delete(states, silent)
			then := summaryOf(rec, members, states).Status
			if then == failed && got != failed || then == pinned && got != pinned {
				t.Fatalf("a silent peer made %s of %s", then, got)
			}
		}
	})
}

func TestSummary_Replicas(t *testing.T) {
	members := peerIDs(3)
	sum := summaryOf(allocatedTo(2, 3), members, map[peer.ID]State{members[0]: Pinned, members[1]: Rewritten, members[2]: Queued})
	if sum.Info["replicas"] != "2/3" || sum.RawInfo != `{"replicas":"2/3"}` {
		t.Errorf("info %v, raw %s", sum.Info, sum.RawInfo)
	}
	if sum := summaryOf(allocatedTo(1, 0), members, nil); sum.Info != nil || sum.RawInfo != pinsvc.RawPairs(nil) {
		t.Errorf("info %v, raw %q, without any holder", sum.Info, sum.RawInfo)
	}
}

func TestHoldersOf_Records(t *testing.T) {
	members := peerIDs(3)
	root, index, shard := allocatedTo(1, 0), allocatedTo(1, 0), allocatedTo(1, 2)
	root.Type, index.Type, shard.Type = api.MetaType, api.ClusterDAGType, api.ShardType
	tests := []struct {
		name string
		rec  api.Pin
		want int
	}{
		{"allocated", allocatedTo(1, 2), 2},
		{"everywhere", onEveryPeer(), 3},
		{"a sharded root", root, 3},
		{"the index of a sharded DAG", index, 3},
		{"a shard", shard, 2},
	}
	for _, tt := range tests {
		if got := len(HoldersOf(tt.rec, members)); got != tt.want {
			t.Errorf("%s: %d holders, want %d", tt.name, got, tt.want)
		}
	}
}

func TestAggregateShards_Status(t *testing.T) {
	tests := []struct {
		shards []pinsvc.Status
		want   pinsvc.Status
	}{
		{nil, queued},
		{[]pinsvc.Status{queued, queued}, queued},
		{[]pinsvc.Status{pinned, queued}, pinning},
		{[]pinsvc.Status{queued, pinning}, pinning},
		{[]pinsvc.Status{pinned, pinned}, pinned},
		{[]pinsvc.Status{pinned, failed, pinning}, failed},
	}
	for _, tt := range tests {
		if got := AggregateShards(tt.shards); got != tt.want {
			t.Errorf("shards %v: %s, want %s", tt.shards, got, tt.want)
		}
		if got := rootSummary(rootState(tt.want)).Status; got != tt.want {
			t.Errorf("a root that is %s is kept as %s", tt.want, got)
		}
	}
}

func TestCount_Reports(t *testing.T) {
	failure := func(attempts int) Report {
		return Report{Status: api.TrackerStatusPinError, Error: textRefused, Attempts: attempts}
	}
	confirmed := Report{Status: api.TrackerStatusPinned}
	tests := []struct {
		name    string
		reports []Report
		silent  int
		failed  int // of the reports
		want    pinsvc.Status
	}{
		{"confirmed", []Report{confirmed, failure(3)}, 0, 1, pinned},
		{"attempts are left", []Report{failure(2)}, 1, 0, pinning},
		{"no attempts are left", []Report{failure(3), failure(4)}, 0, 2, failed},
		{"one did not report", []Report{failure(3)}, 1, 1, queued},
		{"nobody reported", nil, 2, 0, queued},
		{"the IPFS node is unavailable", []Report{{Status: api.TrackerStatusPinError, Error: textUnavailable, Attempts: 9}}, 0, 0, queued},
	}
	for _, tt := range tests {
		var c Count
		gaveUp := 0
		for _, r := range tt.reports {
			if c.Add(r, 3) {
				gaveUp++
			}
		}
		for range tt.silent {
			c.AddUnknown()
		}
		if got := c.Status(allocatedTo(1, 2)); got != tt.want || gaveUp != tt.failed {
			t.Errorf("%s: %s, %d failed, want %s and %d", tt.name, got, gaveUp, tt.want, tt.failed)
		}
	}
}
