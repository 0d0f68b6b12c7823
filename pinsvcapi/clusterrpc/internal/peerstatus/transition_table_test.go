package peerstatus

import (
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// transitions is the transition function: the state at a peer after a report, for
// each state before it. A dot stands for no change, "*" for any.
//
// age is that of the record in the view: fresh for trackerLag, then settled. about
// is the record that the report is about: an earlier pin of the same content, an
// older record of this pin, the same, a newer one, or none (the report does not
// say). Each combination has exactly one line.
const transitions = `
report         age      about        unknown   queued    pinning   lost      pinned    rewritten waiting   retrying  failed
*              *        earlier-pin  queued    .         .         .         .         .         .         .         .

pinned         settled  same,newer   pinned    pinned    pinned    pinned    .         pinned    pinned    pinned    pinned
pinned         settled  none         pinned    pinned    pinned    pinned    .         pinned    pinned    pinned    pinned
pinned         fresh    same,newer   pinned    pinned    pinned    pinned    .         .         pinned    pinned    pinned
pinned         fresh    none         pinned    pinned    pinned    pinned    .         .         pinned    pinned    pinned
pinned         settled  older        queued    .         .         .         .         pinned    .         .         .
pinned         fresh    older        queued    .         .         .         .         .         .         .         .

pinning        settled  same,none    pinning   pinning   .         .         lost      .         pinning   .         .
pinning        fresh    same,none    pinning   pinning   .         .         rewritten .         pinning   .         .
pinning        *        older,newer  pinning   pinning   .         .         rewritten .         pinning   .         .
pin_queued     settled  same,none    queued    .         queued    .         lost      .         queued    .         .
pin_queued     fresh    same,none    queued    .         queued    .         rewritten .         queued    .         .
pin_queued     *        older,newer  queued    .         queued    .         rewritten .         queued    .         .

unpinned       *        *            queued    .         queued    queued    queued    queued    queued    .         .
remote         *        *            queued    .         queued    queued    queued    queued    queued    .         .
unpinning      *        *            queued    .         queued    queued    queued    queued    queued    .         .
unpin_queued   *        *            queued    .         queued    queued    queued    queued    queued    .         .
unpin_error    *        *            queued    .         queued    queued    queued    queued    queued    .         .

unexp_unpinned settled  *            lost      lost      lost      .         lost      lost      lost      .         .
unexp_unpinned fresh    *            queued    .         lost      .         lost      lost      lost      .         .

attempt_1_of_3 *        same         retrying  retrying  retrying  retrying  retrying  retrying  retrying  .         .
attempt_1_of_3 *        none         retrying  retrying  retrying  retrying  retrying  retrying  retrying  .         .
attempt_1_of_3 *        older,newer  queued    .         .         .         .         .         .         .         .
attempt_3_of_3 *        same         failed    failed    failed    failed    failed    failed    failed    failed    .
attempt_3_of_3 *        none         failed    failed    failed    failed    failed    failed    failed    failed    .
attempt_3_of_3 *        older,newer  queued    .         .         .         .         .         .         .         .

unavailable    *        *            waiting   waiting   waiting   waiting   .         .         .         waiting   .
timed_out      *        *            waiting   waiting   waiting   waiting   .         .         .         waiting   .
queue_full     *        *            waiting   waiting   waiting   waiting   .         .         .         waiting   .

no_attempt     *        *            .         .         .         .         .         .         .         .         .
cluster_error  *        *            .         .         .         .         .         .         .         .         .
undefined      *        *            .         .         .         .         .         .         .         .         .
sharded        *        *            .         .         .         .         .         .         .         .         .
`

// transitionReports are the reports of the table. All statuses of trackers are
// there; those of pin_error by cause.
var transitionReports = map[string]Report{
	"pinned":         {Status: api.TrackerStatusPinned},
	"pinning":        {Status: api.TrackerStatusPinning},
	"pin_queued":     {Status: api.TrackerStatusPinQueued},
	"unpinned":       {Status: api.TrackerStatusUnpinned},
	"remote":         {Status: api.TrackerStatusRemote},
	"unpinning":      {Status: api.TrackerStatusUnpinning},
	"unpin_queued":   {Status: api.TrackerStatusUnpinQueued},
	"unpin_error":    {Status: api.TrackerStatusUnpinError, Error: textRefused, Attempts: 1},
	"unexp_unpinned": {Status: api.TrackerStatusUnexpectedlyUnpinned, Error: "x"},
	"attempt_1_of_3": {Status: api.TrackerStatusPinError, Error: textRefused, Attempts: 1},
	"attempt_3_of_3": {Status: api.TrackerStatusPinError, Error: textStalled, Attempts: 3},
	"unavailable":    {Status: api.TrackerStatusPinError, Error: textUnavailable, Attempts: 9},
	"timed_out":      {Status: api.TrackerStatusPinError, Error: textTimedOut, Attempts: 9},
	"queue_full":     {Status: api.TrackerStatusPinError, Error: textQueueFull, Attempts: 9},
	"no_attempt":     {Status: api.TrackerStatusPinError, Error: textRefused},
	"cluster_error":  {Status: api.TrackerStatusClusterError, Error: textUnavailable},
	"undefined":      {Status: api.TrackerStatusUndefined},
	"sharded":        {Status: api.TrackerStatusSharded},
}

// The record of the table was made at 0, written again at 100 s, and is read just
// after that, or when the trackers must have seen it.
var (
	transitionAges   = map[string]time.Duration{"fresh": 101 * time.Second, "settled": 100*time.Second + trackerLag}
	transitionAbouts = map[string]time.Duration{
		"earlier-pin": -10 * time.Second, "older": 50 * time.Second, "same": 100 * time.Second, "newer": 150 * time.Second,
	}
)

// transitionLine is one line of the table.
type transitionLine struct {
	text               string
	report, age, about string
	next               [numStates]State
}

func (l transitionLine) is(report, age, about string) bool {
	in := func(cell, word string) bool {
		for option := range strings.SplitSeq(cell, ",") {
			if option == word || option == "*" {
				return true
			}
		}
		return false
	}
	return in(l.report, report) && in(l.age, age) &&
		(in(l.about, about) && (about != "earlier-pin" || l.about != "*"))
}

// parseTransitions reads the table.
func parseTransitions(t *testing.T) (lines []transitionLine) {
	t.Helper()
	named := make(map[string]State)
	for s := range State(numStates) {
		named[s.String()] = s
	}
	for i, text := range strings.Split(strings.TrimSpace(transitions), "\n") {
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3+numStates {
			t.Fatalf("%d cells in %q", len(fields), text)
		}
		line := transitionLine{text: text, report: fields[0], age: fields[1], about: fields[2]}
		for s, cell := range fields[3:] {
			next, ok := named[cell]
			if cell == "." {
				next, ok = State(s), true
			}
			if !ok {
				t.Fatalf("no state %q in %q", cell, text)
			}
			line.next[s] = next
		}
		if i > 0 {
			lines = append(lines, line)
			continue
		}
		for s, next := range line.next { // The heading names the states in order.
			if State(s) != next {
				t.Fatalf("column %d is %s", s, next)
			}
		}
	}
	return lines
}

func TestTracker_Transitions(t *testing.T) {
	lines := parseTransitions(t)
	used := make([]bool, len(lines))
	for name, report := range transitionReports {
		for age := range transitionAges {
			for _, about := range []string{"earlier-pin", "older", "same", "newer", "none"} {
				found := -1
				for i, line := range lines {
					if line.is(name, age, about) {
						if found >= 0 {
							t.Fatalf("%s, %s, %s: two lines\n%s\n%s", name, age, about, lines[found].text, line.text)
						}
						found, used[i] = i, true
					}
				}
				if found < 0 {
					t.Fatalf("%s, %s, %s: no line", name, age, about)
				}
				for before := range State(numStates) {
					if got, want := transition(t, before, report, age, about), lines[found].next[before]; got != want {
						t.Errorf("%s and %s (%s, %s record): %s, want %s", before, name, age, about, got, want)
					}
				}
			}
		}
	}
	for i, line := range lines {
		if !used[i] {
			t.Errorf("nothing is like %q", line.text)
		}
	}
}

// transition returns the state after a report on the record of the table.
func transition(t *testing.T, before State, r Report, age, about string) State {
	t.Helper()
	tt := newTrackerTest(t)
	made := tt.clock.now()
	tt.DeleteRecord(tt.key)
	pinrecord.Stamp(tt.rec, made)
	tt.rec.Timestamp = made.Add(100 * time.Second)
	tt.PutRecord(tt.rec, false)
	tt.view.Update(tt.key, func(m *pinset.Mutable) bool {
		m.Vector = tt.placements.withState(m.Placement, m.Vector, peerA, before)
		return true
	})
	tt.clock.advance(transitionAges[age])
	if about != "none" {
		r.RecordTime = made.Add(transitionAbouts[about]).Unix()
	}
	tt.Observe(peerA, tt.key, r)
	after, _ := tt.stateOf(peerA)
	return after
}

// Every status that a tracker may report is in the table.
func TestTracker_TransitionsHaveAllStatuses(t *testing.T) {
	have := make(map[api.TrackerStatus]bool)
	for _, r := range transitionReports {
		have[r.Status] = true
	}
	for _, s := range append(api.TrackerStatusAll(), api.TrackerStatusUndefined) {
		filter := s == api.TrackerStatusError || s == api.TrackerStatusQueued
		if !have[s] && !filter {
			t.Errorf("%s is missing", s)
		}
	}
}

// afterRewrite is the other half of the machine: what a re-add or a replace by the
// same CID leaves.
func TestState_AfterRewrite(t *testing.T) {
	want := map[State]State{Pinned: Rewritten, Retrying: Queued, Failed: Queued}
	for s := range State(numStates) {
		next, changes := want[s]
		if !changes {
			next = s
		}
		if got := s.afterRewrite(); got != next {
			t.Errorf("%s: %s, want %s", s, got, next)
		}
	}
}
