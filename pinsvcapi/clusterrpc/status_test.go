package clusterrpc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const refused = `Post "http://127.0.0.1:5001/api/v0/pin/add": dial tcp 127.0.0.1:5001: connect: connection refused`

// says is a tracker's report.
// says is the report of a tracker; a failure is that of its first try.
func says(status api.TrackerStatus, text string) api.PinInfo {
	info := api.PinInfo{PinInfoShort: api.PinInfoShort{Status: status, Error: text}}
	if status == api.TrackerStatusPinError {
		info.AttemptCount = 1
	}
	return info
}

// neverTried is a failure of a tracker before any try.
func neverTried(text string) api.PinInfo {
	info := says(api.TrackerStatusPinError, text)
	info.AttemptCount = 0
	return info
}

func TestReportOfATracker(t *testing.T) {
	tests := []struct {
		name string
		info api.PinInfo
		want standing
	}{
		{"pinned", says(api.TrackerStatusPinned, ""), standingHolds},
		{"at work", says(api.TrackerStatusPinning, ""), standingWorking},
		{"in the queue", says(api.TrackerStatusPinQueued, ""), standingQueued},
		{"has not seen the pin", says(api.TrackerStatusUnpinned, ""), standingQueued},
		{"has not seen its allocation", says(api.TrackerStatusRemote, ""), standingQueued},
		{"an earlier unpin is under way", says(api.TrackerStatusUnpinning, ""), standingQueued},
		{"an earlier unpin is queued", says(api.TrackerStatusUnpinQueued, ""), standingQueued},
		{"an earlier unpin failed", says(api.TrackerStatusUnpinError, "x"), standingQueued},
		{"lost by IPFS", says(api.TrackerStatusUnexpectedlyUnpinned, "x"), standingLost},
		{"refused by IPFS", says(api.TrackerStatusPinError, "merkledag: not found"), standingTrying},
		{"its queue is full", says(api.TrackerStatusPinError, "pin/unpin operation queue is full. Try increasing max_pin_queue_size"), standingWaits},
		{"IPFS is away", says(api.TrackerStatusPinError, refused), standingWaits},
		{"IPFS cannot be asked", says(api.TrackerStatusClusterError, refused), standingUnknown},
		{"IPFS went away in the middle", says(api.TrackerStatusPinError, `Post "http://127.0.0.1:5001/api/v0/pin/add": EOF`), standingWaits},
		{"IPFS refused and tells of a peer that refused it", says(api.TrackerStatusPinError, "IPFS error (pin/add?arg=x). Code: 500. Message: pin: dial tcp 1.2.3.4:4001: connection refused"), standingTrying},
		{"IPFS gave no answer in time", says(api.TrackerStatusPinError, "context deadline exceeded"), standingWaits},
		{"IPFS could not be asked in time", neverTried("context deadline exceeded"), standingWaits},
		{"the look was given up", neverTried("context canceled"), standingUnknown},
		{"the look failed", neverTried("merkledag: not found"), standingUnknown},
		{"no progress", says(api.TrackerStatusPinError, "context canceled"), standingTrying},
		{"says nothing", says(api.TrackerStatusUndefined, ""), standingUnknown},
	}
	for _, tt := range tests {
		if got := answerOf(tt.info).standing(); got != tt.want {
			t.Errorf("%s: standing %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestReasonsAreForHumans(t *testing.T) {
	long := strings.Repeat("ä", 1000)
	for text, want := range map[string]string{
		long: long[:maxReason] + "…",
		"IPFS error (pin/add?arg=x). Code: 500. Message: merkledag: not found": "merkledag: not found",
		"context canceled":         "nothing of the content was received for as long as the peer is set to wait",
		"the content is malformed": "the content is malformed",
	} {
		if got := reasonOf(text); got != want {
			t.Errorf("%q reads %q, want %q", text, got, want)
		}
	}
}

func peerIDs(n int) []peer.ID {
	ids := make([]peer.ID, n)
	for i := range ids {
		ids[i] = peer.ID(fmt.Sprintf("peer %d", i))
	}
	return ids
}

func allocated(factorMin, n int) api.Pin {
	rec := api.PinCid(api.CidUndef)
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = factorMin, max(factorMin, n)
	rec.Allocations = peerIDs(n)
	return rec
}

func onEveryPeer() api.Pin {
	rec := api.PinCid(api.CidUndef)
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = -1, -1
	return rec
}

// judged is what the standings of peers make of a record, told in any order
// and also of peers that should not hold it.
func judged(rec api.Pin, members []peer.ID, standings map[peer.ID]standing) verdict {
	s := newPlaces()
	s.setMembers(members, time.Unix(1_800_000_000, 0))
	at, vec := s.of(rec), uint32(0)
	for p, st := range standings {
		vec = s.with(at, vec, p, st)
	}
	return *s.show(at, vec)
}

// TestStatusFromManyPeers has a row for every sentence of D5 that is about
// peers.
func TestStatusFromManyPeers(t *testing.T) {
	const (
		holds, works, queued = standingHolds, standingWorking, standingQueued
		gaveUp, waits, lost  = standingGaveUp, standingWaits, standingLost
		unknown              = standingUnknown
	)
	tests := []struct {
		name      string
		rec       api.Pin
		members   int
		standings []standing
		want      pinsvc.Status
	}{
		{"enough hold it", allocated(2, 3), 3, []standing{holds, holds, queued}, pinsvc.StatusPinned},
		{"all hold it", allocated(2, 3), 3, []standing{holds, holds, holds}, pinsvc.StatusPinned},
		{"one in error does not fail what enough hold", allocated(2, 3), 3, []standing{holds, holds, gaveUp}, pinsvc.StatusPinned},
		{"one unreachable does not fail what enough hold", allocated(2, 3), 3, []standing{holds, holds, unknown}, pinsvc.StatusPinned},
		{"too few hold it yet", allocated(2, 3), 3, []standing{holds, queued, queued}, pinsvc.StatusPinning},
		{"the minimum is capped by the allocations", allocated(3, 2), 3, []standing{holds, holds}, pinsvc.StatusPinned},
		{"a minimum of none is one", allocated(0, 2), 2, []standing{holds, queued}, pinsvc.StatusPinned},
		{"a negative minimum with allocations is one", allocated(-1, 2), 2, []standing{queued, holds}, pinsvc.StatusPinned},
		{"everywhere needs one", onEveryPeer(), 3, []standing{queued, holds, gaveUp}, pinsvc.StatusPinned},
		{"peers that are not allocated do not count", allocated(1, 1), 3, []standing{queued, holds, holds}, pinsvc.StatusQueued},
		{"failures of peers that are not allocated do not count", allocated(1, 1), 3, []standing{holds, gaveUp, gaveUp}, pinsvc.StatusPinned},
		{"enough cannot be reached", allocated(2, 3), 3, []standing{holds, gaveUp, gaveUp}, pinsvc.StatusFailed},
		{"the only one gave up", allocated(1, 1), 1, []standing{gaveUp}, pinsvc.StatusFailed},
		{"everywhere fails when all gave up", onEveryPeer(), 2, []standing{gaveUp, gaveUp}, pinsvc.StatusFailed},
		{"everywhere is not failed while one has not given up", onEveryPeer(), 2, []standing{gaveUp, queued}, pinsvc.StatusQueued},
		{"one that gave up leaves enough others", allocated(1, 2), 2, []standing{gaveUp, queued}, pinsvc.StatusQueued},
		{"an unreachable peer has not given up", allocated(1, 2), 2, []standing{gaveUp, unknown}, pinsvc.StatusQueued},
		{"a peer without its IPFS node has not given up", allocated(1, 1), 1, []standing{waits}, pinsvc.StatusQueued},
		{"any at work", allocated(1, 2), 2, []standing{queued, works}, pinsvc.StatusPinning},
		{"lost content is fetched again", allocated(1, 1), 1, []standing{lost}, pinsvc.StatusPinning},
		{"nobody has begun", allocated(1, 2), 2, []standing{queued, queued}, pinsvc.StatusQueued},
		{"nobody can be asked", allocated(1, 2), 2, []standing{unknown, unknown}, pinsvc.StatusQueued},
		{"nobody should hold it", allocated(1, 0), 2, []standing{}, pinsvc.StatusQueued},
	}
	for _, tt := range tests {
		members := peerIDs(tt.members)
		standings := make(map[peer.ID]standing)
		for i, s := range tt.standings {
			standings[members[i]] = s
		}
		if got := judged(tt.rec, members, standings); got.status != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got.status, tt.want)
		}
	}
}

func drawStanding(t *rapid.T) standing {
	return standing(rapid.IntRange(0, int(standingGaveUp)).Draw(t, "standing"))
}

func drawStandings(t *rapid.T, peers []peer.ID) map[peer.ID]standing {
	standings := make(map[peer.ID]standing)
	for _, p := range peers {
		if rapid.Bool().Draw(t, "answers") {
			standings[p] = drawStanding(t)
		}
	}
	return standings
}

func count(should []peer.ID, told map[peer.ID]standing, standings ...standing) (n int) {
	for _, p := range should {
		for _, s := range standings {
			if told[p] == s {
				n++
			}
		}
	}
	return n
}

// TestStatusLaws says D5 again, as laws over any reports of any peers.
func TestStatusLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := peerIDs(rapid.IntRange(1, 6).Draw(t, "members"))
		rec := onEveryPeer()
		if rapid.Bool().Draw(t, "allocated") {
			rec = allocated(rapid.IntRange(-1, 6).Draw(t, "min"), rapid.IntRange(0, len(members)).Draw(t, "allocations"))
		}
		told := drawStandings(t, members)
		should := holders(rec, members)
		need := 1
		if !rec.IsPinEverywhere() {
			need = max(1, min(rec.ReplicationFactorMin, len(rec.Allocations)))
		}
		got := judged(rec, members, told).status
		held, gaveUp := count(should, told, standingHolds, standingRewritten), count(should, told, standingGaveUp)
		begun := count(should, told, standingWorking, standingLost, standingTrying) > 0 || held > 0

		want := pinsvc.StatusQueued
		switch {
		case held >= need:
			want = pinsvc.StatusPinned
		case gaveUp > 0 && len(should)-gaveUp < need:
			want = pinsvc.StatusFailed
		case begun:
			want = pinsvc.StatusPinning
		}
		if got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if got == pinsvc.StatusPinned && held == 0 {
			t.Fatal("pinned, but nobody confirmed it")
		}

		// Whatever peers say that should not hold it changes nothing.
		stranger := peer.ID("stranger")
		told[stranger] = drawStanding(t)
		if again := judged(rec, members, told).status; again != got {
			t.Fatalf("a stranger made %s of %s", again, got)
		}
		// A peer that falls silent neither fails a pin nor pins it.
		if len(should) > 0 {
			silent := rapid.SampledFrom(should).Draw(t, "silent")
			delete(told, silent)
			then := judged(rec, members, told).status
			if then == pinsvc.StatusFailed && got != pinsvc.StatusFailed || then == pinsvc.StatusPinned && got != pinsvc.StatusPinned {
				t.Fatalf("a silent peer made %s of %s", then, got)
			}
		}
	})
}

func TestShardedContentIsWhatItsPartsAre(t *testing.T) {
	const queued, pinning, pinned, failed = pinsvc.StatusQueued, pinsvc.StatusPinning, pinsvc.StatusPinned, pinsvc.StatusFailed
	tests := []struct {
		parts []pinsvc.Status
		want  pinsvc.Status
	}{
		{nil, queued},
		{[]pinsvc.Status{queued, queued}, queued},
		{[]pinsvc.Status{pinned, queued}, pinning},
		{[]pinsvc.Status{queued, pinning}, pinning},
		{[]pinsvc.Status{pinned, pinned}, pinned},
		{[]pinsvc.Status{pinned, failed, pinning}, failed},
	}
	for _, tt := range tests {
		if got := whole(tt.parts); got != tt.want {
			t.Errorf("parts %v: %s, want %s", tt.parts, got, tt.want)
		}
		if got := rootVerdict(rootStanding(tt.want)).status; got != tt.want {
			t.Errorf("a root that is %s is kept as %s", tt.want, got)
		}
	}
}

func TestFailuresAreToldByKind(t *testing.T) {
	tests := []struct {
		text string
		want pinsvc.Kind
	}{
		{"this peer is configured to be in follower mode. Write operations are disabled", pinsvc.KindForbidden},
		{"not enough peers to allocate CID. Needed at least: 2. ", pinsvc.KindUnavailable},
		{"cannot repin CID with different tracking method, clear state with pin rm to proceed. New: pin. Was: shard-pin", pinsvc.KindBadRequest},
		{"error batching item: batching max_queue_size reached. Too many", pinsvc.KindUnavailable},
		{"raft: no leader", pinsvc.KindUnavailable},
		{"context deadline exceeded", pinsvc.KindUnavailable},
	}
	for _, tt := range tests {
		var told *pinsvc.Error
		if err := failure(errors.New(tt.text), "pin"); !errors.As(err, &told) || told.Kind != tt.want || told.Details == "" {
			t.Errorf("%q: %v, want kind %d", tt.text, err, tt.want)
		}
	}
	if !isNotFound(errors.New("pin is not part of the pinset")) || isNotFound(errors.New("dial: no route")) || isNotFound(nil) {
		t.Error("isNotFound reads wrongly")
	}
}
