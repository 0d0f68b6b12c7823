package harness

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// DataRace begins a report of the race detector.
const DataRace = "WARNING: DATA RACE"

// KnownRace reports whether the report of the race detector at the beginning of a log is of
// a race of upstream that is known (U56).
func KnownRace(log []byte) bool { return trackerRace().is(log) }

// unknownRace returns the first report of another race in a log.
func unknownRace(log string) (report string, found bool) {
	for {
		_, rest, ok := strings.Cut(log, DataRace)
		if !ok {
			return "", false
		}
		if !KnownRace([]byte(DataRace + rest)) {
			return strings.Join(strings.SplitAfterN(rest, "\n", 80), ""), true
		}
		log = rest
	}
}

// race is a data race of a layer below that is known: U56 in docs/upstream-faults.md says why it
// stays.
type race struct {
	// write is the function that writes, and at the line of it.
	write, at string
	// reads are the functions that read, themselves or by one that they call.
	reads []string
}

// trackerRace is upstream's tracker, which replaces the record of an operation while the worker
// that begins it reads that record.
func trackerRace() race {
	const tracker = "github.com/ipfs-cluster/ipfs-cluster/pintracker/"
	return race{
		write: tracker + "optracker.(*OperationTracker).TrackNewOperation()",
		at:    "/pintracker/optracker/operationtracker.go:91 ",
		reads: []string{tracker + "stateless.(*Tracker).pin()", tracker + "stateless.(*Tracker).unpin()"},
	}
}

// is reports whether the report of the race detector at the beginning of a log is of this race.
func (r race) is(log []byte) bool {
	report, _, _ := bytes.Cut(log, []byte("\n=================="))
	var write, read []string
	for block := range strings.SplitSeq(string(report), "\n\n") {
		lines := strings.Split(strings.TrimPrefix(block, DataRace+"\n"), "\n")
		switch what := access.FindStringSubmatch(lines[0]); {
		case what == nil:
		case strings.EqualFold(what[1], "write"):
			write = append(write, lines[1:]...)
		default:
			read = append(read, lines[1:]...)
		}
	}
	const frames = 2 // The reader, or what it calls; each has a line for its place.
	return len(write) > 1 && strings.TrimSpace(write[0]) == r.write && strings.Contains(write[1], r.at) &&
		slices.ContainsFunc(read[:min(len(read), 2*frames)], func(line string) bool { return slices.Contains(r.reads, strings.TrimSpace(line)) })
}

var access = regexp.MustCompile(`^(?:Previous )?(?i:(read|write)) at `)
