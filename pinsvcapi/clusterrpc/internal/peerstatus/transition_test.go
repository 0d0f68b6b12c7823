package peerstatus

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestTracker_NothingIsPinnedBeforeItIsConfirmed(t *testing.T) {
	tt := newTrackerTest(t)
	tt.wantState("at first", peerA, Unknown, queued)
	for _, status := range []api.TrackerStatus{
		api.TrackerStatusPinQueued, api.TrackerStatusPinning, api.TrackerStatusClusterError, api.TrackerStatusRemote,
		api.TrackerStatusUnpinned, api.TrackerStatusSharded, api.TrackerStatusUndefined,
	} {
		tt.observe(peerA, status, "", 0)
		if tt.pin().Status == pinned {
			t.Errorf("pinned by %s", status)
		}
	}
	tt.observe(peerC, api.TrackerStatusPinned, "", 0)
	if tt.pin().Status == pinned {
		t.Error("pinned by a peer that should not hold it")
	}
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.wantState("in the end", peerA, Pinned, pinned)
}

func TestTracker_ReportThatSaysNothingOfTheContentChangesNothing(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.observe(peerA, api.TrackerStatusClusterError, textUnavailable, 0)
	tt.wantState("the tracker cannot read its IPFS node", peerA, Pinned, pinned)
	tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
	tt.wantState("the IPFS node is unavailable", peerA, Pinned, pinned)
	for _, text := range []string{textTimedOut, textStalled, textRefused} {
		tt.observe(peerA, api.TrackerStatusPinError, text, 0)
		tt.wantState("without an attempt: "+text, peerA, Pinned, pinned)
	}
	tt.observe(peerB, api.TrackerStatusPinError, textUnavailable, 1)
	tt.wantState("the other's IPFS node is unavailable", peerB, Waiting, pinned)
}

// A pin was removed and made anew within one second, in which it had failed as well: records have
// whole seconds, but the reports have when the pin was made.
func TestTracker_AFailureOfADeletedPinOfTheSameSecondCountsNot(t *testing.T) {
	tt := newTrackerTest(t)
	made := tt.clock.now().Truncate(time.Second)
	of := func(status api.TrackerStatus, text string, created time.Time) Report {
		rec := pinrecord.WithRequest(pinrecord.New(tt.key), pinsvc.Pin{CID: tt.key, Name: "as requested"})
		pinrecord.Stamp(rec, created)
		info := api.PinInfo{Cid: rec.Cid, Created: made, Metadata: rec.Metadata}
		info.Status, info.Error, info.AttemptCount, info.TS = status, text, 3, created.Add(time.Millisecond)
		return ReportOf(info)
	}
	tt.DeleteRecord(tt.key)
	tt.rec.Timestamp = made
	pinrecord.Stamp(tt.rec, made.Add(500*time.Millisecond))
	tt.PutRecord(tt.rec, false)
	tt.Observe(peerA, tt.key, of(api.TrackerStatusPinError, textRefused, made.Add(100*time.Millisecond)))
	tt.wantState("the pin before had failed", peerA, Queued, queued)
	tt.Observe(peerA, tt.key, of(api.TrackerStatusPinning, "", made.Add(500*time.Millisecond)))
	tt.wantState("it is fetched", peerA, Pinning, pinning)
	tt.Observe(peerA, tt.key, of(api.TrackerStatusPinError, textRefused, made.Add(500*time.Millisecond)))
	tt.wantState("it has failed", peerA, Failed, queued)
}

// A pin is requested again, at another peer, within the second in which its first request has failed, and nobody
// has asked about that before: reports have of which request they are. The count of a tracker that was started anew
// says nothing of it.
func TestTracker_AFailureOfAnEarlierRequestOfTheSameSecondCountsNot(t *testing.T) {
	tt := newTrackerTest(t)
	failure := func(attempts int) Report {
		info := api.PinInfo{Cid: tt.rec.Cid, Created: tt.rec.Timestamp, Metadata: tt.rec.Metadata}
		info.Status, info.Error, info.AttemptCount = api.TrackerStatusPinError, textRefused, attempts
		return ReportOf(info)
	}
	first := failure(3)
	tt.rec.Metadata = maps.Clone(tt.rec.Metadata)
	pinrecord.Revise(tt.rec, tt.clock.now())
	tt.PutRecord(tt.rec, false)
	tt.Observe(peerA, tt.key, first)
	tt.wantState("the first request has failed", peerA, Queued, queued)
	tt.Observe(peerA, tt.key, failure(3))
	tt.wantState("an attempt at the second has failed", peerA, Retrying, pinning)
	tt.Observe(peerA, tt.key, first)
	tt.wantState("late news of the first", peerA, Retrying, pinning)
	tt.Observe(peerA, tt.key, failure(6))
	tt.wantState("the second has failed", peerA, Failed, queued)
}

func TestTracker_RecoveryOfLostContentIsNotPinned(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	// The loss itself was not observed; the tracker pins the same record.
	tt.observe(peerA, api.TrackerStatusPinning, "", 0)
	tt.wantState("it is fetched", peerA, Lost, pinning)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	tt.wantState("it is lost", peerA, Lost, pinning)
	if due := tt.DueRetries(10); len(due) != 1 || due[0].State != Lost {
		t.Errorf("retries %+v, want one of lost content", due)
	}
	tt.observe(peerA, api.TrackerStatusPinQueued, "", 0)
	tt.wantState("it is queued", peerA, Lost, pinning)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	if n := tt.FailurePins(); n != 0 {
		t.Errorf("%d failures are kept after they are over", n)
	}
}

func TestTracker_NewPinIsQueuedAndNotLost(t *testing.T) {
	tt := newTrackerTest(t)
	tt.rewrite(0)
	// The state has the record and the tracker has not seen it yet.
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	tt.wantState("at first", peerA, Queued, queued)
	tt.clock.advance(time.Minute)
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	tt.wantState("much later", peerA, Lost, pinning)
}

func TestTracker_FailedAfterMaxAttempts(t *testing.T) {
	tt := newTrackerTest(t)
	tt.failures.backoff.Jitter = 0
	tt.allocate(1, peerA)
	for attempt, want := range []string{
		"merkledag: not found, attempt 1 of 3; next attempt in 10s",
		"merkledag: not found, attempt 2 of 3; next attempt in 20s",
	} {
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1)
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1) // Two reports, one attempt.
		tt.wantState(want, peerA, Retrying, pinning)
		tt.wantDetails("between two attempts", want)
		tt.observe(peerA, api.TrackerStatusPinning, "", attempt+1)
		tt.wantState("the next attempt is in progress", peerA, Retrying, pinning)
		before, _, _ := strings.Cut(want, ";")
		tt.wantDetails("during the next attempt", fmt.Sprintf("%s; attempt %d is in progress", before, attempt+2))
	}
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 3)
	tt.wantState("the last", peerA, Failed, failed)
	tt.wantDetails("the last", "merkledag: not found, attempt 3 of 3")
	// The cluster itself queues what is in error every 12 minutes.
	for range 3 {
		for _, status := range []api.TrackerStatus{api.TrackerStatusPinQueued, api.TrackerStatusPinning} {
			tt.observe(peerA, status, "", 4)
			tt.wantState(status.String(), peerA, Failed, failed)
		}
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, 4)
		tt.wantState("once more", peerA, Failed, failed)
	}
	tt.wantDetails("once more", "merkledag: not found, attempt 3 of 3")
	tt.rewrite(time.Minute)
	tt.wantState("written again", peerA, Queued, queued)
	tt.wantDetails("written again", "")
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 5) // The tracker goes on counting.
	tt.wantState("the first attempt for the new record", peerA, Retrying, pinning)
	tt.observe(peerA, api.TrackerStatusPinned, "", 6)
	tt.wantState("a success", peerA, Pinned, pinned)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 1)
	tt.wantState("and the count begins anew", peerA, Retrying, pinning)
}

// Under batching, and at other peers, a re-add reaches the tracker late.
func TestTracker_FailureFromBeforeAReAddDoesNotCount(t *testing.T) {
	tt := newTrackerTest(t)
	tt.cfg.MaxAttempts = 1
	tt.allocate(1, peerA)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 2)
	tt.wantState("failed", peerA, Failed, failed)
	old := Report{Status: api.TrackerStatusPinError, Error: textRefused, Attempts: 2, RecordTime: tt.rec.Timestamp.Unix()}
	for _, later := range []time.Duration{0, time.Minute} { // Also within one second.
		tt.rewrite(later)
		tt.Observe(peerA, tt.key, old)
		tt.wantState("the earlier failure", peerA, Queued, queued)
	}
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 3)
	tt.wantState("a new one", peerA, Failed, failed)
}

func TestTracker_AttemptsWithoutAnIPFSNodeDoNotCount(t *testing.T) {
	tt := newTrackerTest(t)
	tt.allocate(1, peerA)
	for n := range 5 {
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, n+1)
		tt.wantState("the IPFS node is unavailable", peerA, Waiting, queued)
	}
	for range 5 {
		tt.observe(peerA, api.TrackerStatusPinError, textStalled, 0)
		tt.wantState("the check was cancelled", peerA, Waiting, queued)
	}
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 6)
	tt.wantState("the first real failure", peerA, Retrying, pinning)
}

// lostText and missingText are what users read of content that is not there.
const (
	lostText    = "the IPFS node of a peer lost the content; it is being fetched again"
	missingText = "the IPFS node of a peer does not have the content yet; it is being fetched"
)

func TestTracker_LostIsSaidOnlyOfConfirmedContent(t *testing.T) {
	lose := func(tt *trackerTest) { tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0) }
	t.Run("never confirmed", func(t *testing.T) {
		tt := newTrackerTest(t)
		lose(tt)
		tt.wantState("no operation of the tracker", peerA, Lost, pinning)
		tt.wantDetails("no operation of the tracker", missingText)
	})
	t.Run("waiting for the IPFS node", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
		lose(tt)
		tt.wantDetails("it is back", missingText)
	})
	t.Run("confirmed", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		lose(tt)
		tt.wantDetails("lost", lostText)
		lose(tt)
		tt.wantDetails("reported twice", lostText)
	})
	t.Run("confirmed for an earlier record", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.rewrite(time.Minute)
		lose(tt)
		tt.wantDetails("lost", lostText)
	})
	t.Run("confirmed, then fetched again", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.observe(peerA, api.TrackerStatusPinning, "", 1)
		tt.wantDetails("lost", lostText)
	})
	t.Run("confirmed, then unavailable", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
		lose(tt)
		tt.wantState("lost", peerA, Lost, pinning)
		tt.wantDetails("lost", lostText)
	})
	t.Run("no attempt had it", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.allocate(1, peerA)
		tt.clock.advance(time.Minute)
		for attempt, want := range []State{Retrying, Retrying, Failed} {
			tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1)
			details, _ := tt.Details(tt.key, pinning)
			lose(tt)
			tt.wantState("the operation is gone", peerA, want, tt.pin().Status)
			tt.wantDetails("the operation is gone", details)
		}
	})
}

// Whatever peers report, whatever is written and whoever leaves: no peer holds the
// pin that has not confirmed it since the pin was made, and no peer has failed
// before its last attempt for the record.
func TestTracker_NothingIsAssumed(t *testing.T) {
	peers := []peer.ID{peerA, peerB, peerC}
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		tt := newTrackerTest(outer)
		confirmed, refused, count := make(map[peer.ID]bool), make(map[peer.ID]int), make(map[peer.ID]int)
		report := func(status api.TrackerStatus) func(*rapid.T) {
			return func(t *rapid.T) { reports(rapid.SampledFrom(peers).Draw(t, "peer"), status)(tt) }
		}
		anew := func() { clear(refused) }
		// attempt is one of a peer that should hold the pin; others make none.
		attempt := func(t *rapid.T) (p peer.ID, ok bool) {
			p = rapid.SampledFrom(peers).Draw(t, "peer")
			if _, ok = tt.stateOf(p); ok {
				count[p]++
			}
			return p, ok
		}
		t.Repeat(map[string]func(*rapid.T){
			"pinning":               report(api.TrackerStatusPinning),
			"pin_queued":            report(api.TrackerStatusPinQueued),
			"unpinned":              report(api.TrackerStatusUnpinned),
			"unexpectedly_unpinned": report(api.TrackerStatusUnexpectedlyUnpinned),
			"cluster_error":         report(api.TrackerStatusClusterError),
			"pinned": func(t *rapid.T) {
				p := rapid.SampledFrom(peers).Draw(t, "peer")
				tt.observe(p, api.TrackerStatusPinned, "", count[p])
				confirmed[p] = true
				delete(refused, p) // The operation is over: the next one counts from 1.
				delete(count, p)
			},
			"pin_error": func(t *rapid.T) {
				if p, ok := attempt(t); ok {
					refused[p]++
					tt.observe(p, api.TrackerStatusPinError, textRefused, count[p])
				}
			},
			"unavailable": func(t *rapid.T) {
				if p, ok := attempt(t); ok {
					tt.observe(p, api.TrackerStatusPinError, textUnavailable, count[p])
				}
			},
			"readd": func(*rapid.T) { tt.rewrite(time.Minute); anew() },
			// The tracker unpinned the content in between, and counts from 1.
			"make": func(*rapid.T) { madeAgain(tt); anew(); clear(confirmed); clear(count) },
			"allocate": func(t *rapid.T) {
				holders := peers[:rapid.IntRange(1, 3).Draw(t, "holders")]
				tt.allocate(rapid.IntRange(1, 3).Draw(t, "minimum"), holders...)
				anew()
				for _, p := range peers[len(holders):] {
					delete(confirmed, p)
					delete(count, p)
				}
			},
			"members": func(t *rapid.T) { tt.SetMembers(peers[:rapid.IntRange(1, 3).Draw(t, "members")]) },
			"time": func(t *rapid.T) {
				tt.clock.advance(time.Duration(rapid.IntRange(0, 7200).Draw(t, "seconds")) * time.Second)
			},
			"retry": func(*rapid.T) {
				for _, retry := range tt.DueRetries(10) {
					tt.RetrySent(retry)
				}
			},
			"": func(t *rapid.T) {
				pin := tt.pin()
				for _, p := range peers {
					st, counts := tt.stateOf(p)
					if (st == Pinned || st == Rewritten) && !confirmed[p] {
						t.Fatalf("%q is %s without a confirmation", string(p), st)
					}
					if st == Failed && refused[p] < tt.cfg.MaxAttempts {
						t.Fatalf("%q has failed after %d attempts", string(p), refused[p])
					}
					if !counts && st != Unknown {
						t.Fatalf("%q does not count and is %s", string(p), st)
					}
				}
				if sum := tt.Summary(pin.Placement, pin.Vector); sum.Status != pin.Status {
					t.Fatalf("the row is %s, its summary %s", pin.Status, sum.Status)
				}
			},
		})
	})
}

// A report that was under way when the record was written again says nothing of the attempt
// that has begun since.
func TestTracker_LateFailureOfBeforeAReAddIsIgnored(t *testing.T) {
	tt := newTrackerTest(t)
	tt.allocate(1, peerA)
	for attempt := range 3 {
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1)
	}
	tt.wantState("all attempts failed", peerA, Failed, failed)
	late := Report{Status: api.TrackerStatusPinError, Error: textRefused, Attempts: 3, RecordTime: tt.rec.Timestamp.Unix()}
	for _, later := range []time.Duration{0, time.Minute} { // Also within one second.
		tt.rewrite(later)
		tt.observe(peerA, api.TrackerStatusPinning, "", 0)
		tt.wantState("the new attempt has begun", peerA, Pinning, pinning)
		tt.Observe(peerA, tt.rec.Cid.Cid, late)
		tt.wantState("the late failure", peerA, Pinning, pinning)
	}
}

// The clock of this peer was set, or that of the one that renamed the pin: what the trackers
// report in the first seconds is about the record before all the same.
func TestTracker_ARenameByAnotherClockKeepsTheConfirmation(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.wantState("before", peerA, Pinned, pinned)
		before, after := tt.rec.Timestamp, tt.rec
		after.Name, after.Timestamp = "after", tt.clock.now().Add(ahead)
		tt.PutRecord(after, false)
		tt.Observe(peerA, tt.key, Report{Status: api.TrackerStatusPinned, RecordTime: before.Unix()})
		tt.Observe(peerA, tt.key, Report{Status: api.TrackerStatusPinQueued, RecordTime: after.Timestamp.Unix()})
		tt.wantState("while the tracker queues the pin again", peerA, Rewritten, pinned)
		tt.clock.advance(trackerLag)
		tt.Observe(peerA, tt.key, Report{Status: api.TrackerStatusPinned, RecordTime: after.Timestamp.Unix()})
		tt.wantState("in the end", peerA, Pinned, pinned)
	}
}

// A pin was deleted and added again at a peer whose clock had been set back. Another peer had the first
// one pinned still, and was about to unpin it: the new one was called pinned, and a moment later no
// node had it.
func TestTracker_APinnedReportOfADeletedPinConfirmsNothing(t *testing.T) {
	for name, back := range map[string]time.Duration{"the clock is back": time.Hour, "within the same second": 0} {
		t.Run(name, func(t *testing.T) {
			tt := newTrackerTest(t)
			before := ReportOf(api.PinInfo{
				Created: tt.rec.Timestamp, Metadata: maps.Clone(tt.rec.Metadata), PinInfoShort: api.PinInfoShort{Status: api.TrackerStatusPinned},
			})
			created, _ := pinrecord.CreatedOf(tt.rec)
			tt.Observe(peerA, tt.key, before)
			tt.wantState("of the first", peerA, Pinned, pinned)
			tt.DeleteRecord(tt.key)
			tt.rec.Timestamp = tt.rec.Timestamp.Add(-back)
			pinrecord.Stamp(tt.rec, created.Add(time.Millisecond))
			tt.PutRecord(tt.rec, false)
			tt.Observe(peerA, tt.key, before)
			tt.wantState("of the deleted one", peerA, Queued, queued)
			if tt.Confirms(tt.key, before) || Confirms(tt.rec, before) {
				t.Error("the report of the deleted pin confirms the new one")
			}
			after := before
			after.RecordTime, after.Stamp = tt.rec.Timestamp.Unix(), pinrecord.StampIn(tt.rec.Metadata)
			tt.Observe(peerA, tt.key, after)
			tt.wantState("of the second", peerA, Pinned, pinned)
			if !tt.Confirms(tt.key, after) || !Confirms(tt.rec, after) {
				t.Error("its own report does not confirm it")
			}
		})
	}
}
