// Package raftstate keeps the shared state of a Raft peer what was asked for, on every peer and
// after every restart. It stands between the cluster's Raft component and its datastore, and
// contains faults below it (docs/upstream-faults.md):
//
//   - An entry of the log inherits what it leaves empty from the entry before (U30). Each pin that
//     this peer proposes carries its record in a reserved metadata key, the mark (mark.go), and the
//     store replaces what Raft makes of the entry by that record (store.go).
//   - The tracker is handed maps and slices that the next entry overwrites (U31). It reads the
//     record from the state instead (tracker.go).
//   - A snapshot that is installed on a running peer leaves what was removed meanwhile (U32). The
//     store removes it, and the tracker is told (restore.go).
//   - A peer counts as ready before it has applied its log (U33). Readiness waits for an entry of
//     its own (consensus.go).
//   - An entry that is applied before the consensus has its RPC client ends the process (U55). It
//     waits for the client (hold.go).
//   - A write that was given up takes effect after newer ones (U70, U71). It has not ended before
//     upstream has (consensus.go), and a leader asks before it proposes a redirected one (redirect.go).
//   - A peer whose disk is full loses its office, and others call that the lack of a leader (U107). What it would have
//     to propose is refused before (refusal.go).
//   - Nobody can read while a snapshot is made (U118). Reads go on (reads.go).
//   - A peer that could not leave loses its log (U119). It keeps it (consensus.go).
//
// A write to one version of a record is made by the leader, which compares (conditional.go).
//
// It also lets a peer whose state was damaged take rows over from the leader (rewrite.go).
package raftstate

import logging "github.com/ipfs/go-log/v2"

var log = logging.Logger("raftstate")
