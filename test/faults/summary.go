package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Summary is what a run did and found.
type Summary struct {
	Mode   Mode
	Seed   uint64
	Copies int // 0: one at each peer
	// Planned is the time under load.
	Planned, Took time.Duration
	Folder        string
	// Faults are those that happened, by kind; Skipped excluded each other.
	Faults  map[FaultKind]int
	Skipped int
	// Acknowledged, Failed, Unanswered and Refused are writes.
	Acknowledged, Failed, Unanswered, Refused int64
	// Of the reads, those at other peers are checked that were made while nothing was wrong.
	Reads   int64
	Checked int
	// Confirmed are answers with pinned, Samples are lists of a node's pins.
	Confirmed int64
	Samples   int
	// Installed are snapshots that Raft peers got from a leader.
	Installed int
	Problems  []Problem
}

// shownProblems is how many problems of a kind the summary shows; the file
// problems.txt in the folder has all.
const shownProblems = 3

// Total is the number of faults.
func (s Summary) Total() int {
	total := 0
	for _, n := range s.Faults {
		total += n
	}
	return total
}

// What a long run has to do, so that it says something that it found nothing.
const (
	checksReadsFrom = 10 * time.Minute
	completeFrom    = 30 * time.Minute
	leastFaults     = 100
	leastWrites     = 50_000
)

// shortfalls are what a run has not done that is as long.
func (s Summary) shortfalls() (texts []string) {
	add := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	if s.Planned >= checksReadsFrom && s.Checked == 0 {
		add("no read at another peer was checked in %v", s.Planned)
	}
	if s.Planned < completeFrom {
		return texts
	}
	if s.Total() < leastFaults {
		add("%d faults in %v, not %d", s.Total(), s.Planned, leastFaults)
	}
	if s.Acknowledged < leastWrites {
		add("%d acknowledged writes in %v, not %d", s.Acknowledged, s.Planned, leastWrites)
	}
	return texts
}

// String is the summary for people.
func (s Summary) String() string {
	var b strings.Builder
	copies := "all"
	if s.Copies > 0 {
		copies = fmt.Sprint(s.Copies)
	}
	fmt.Fprintf(&b, "mode %s, seed %d, copies %s, %v, logs and history in %s\n", s.Mode, s.Seed, copies, s.Took.Round(time.Second), s.Folder)
	fmt.Fprintf(&b, "faults: %d (%d excluded each other)\n", s.Total(), s.Skipped)
	for _, kind := range slices.Sorted(maps.Keys(s.Faults)) {
		fmt.Fprintf(&b, "  %4d %s\n", s.Faults[kind], kind)
	}
	fmt.Fprintf(&b, "writes: %d acknowledged, %d failed, %d unanswered, %d refused; %d reads, %d of them pinned; %d samples\n",
		s.Acknowledged, s.Failed, s.Unanswered, s.Refused, s.Reads, s.Confirmed, s.Samples)
	fmt.Fprintf(&b, "reads of accepted writes at other peers while nothing was wrong: %d, none of which may be a 404\n", s.Checked)
	if s.Mode == Raft {
		fmt.Fprintf(&b, "%d snapshots of a leader installed\n", s.Installed)
	}
	counts := map[Invariant]int{}
	for _, p := range s.Problems {
		counts[p.Invariant]++
	}
	for _, i := range Invariants() {
		fmt.Fprintf(&b, "  %4d broken: %s\n", counts[i], i)
	}
	shown := map[Invariant]int{}
	for _, p := range s.Problems {
		if shown[p.Invariant]++; shown[p.Invariant] <= shownProblems {
			fmt.Fprintf(&b, "%s\n", p)
		}
	}
	return b.String()
}
