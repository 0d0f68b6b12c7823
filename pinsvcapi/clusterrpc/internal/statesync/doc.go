// Package statesync keeps the view equal to the shared state: a reflector, as in
// client-go. It lists the whole state (Resync), watches events of changes, and
// lists again from time to time, or when events were lost.
//
// Writes that the cluster accepted from this peer and that its state does not
// show yet are laid over what is read (Uncommitted), so that a writer reads its
// own writes: with CRDT batching until the batch is committed, on a Raft follower
// until the log has come back.
//
// Life of an uncommitted write:
//
//	accepted ──► uncommitted ──► committed: the state shows it
//	               │   ▲     ──► superseded: the state shows something else, or an
//	               │   │         event reports a change after the write's own
//	               │   │ resubmitted: its mutation is applied to what is there
//	               ▼   │
//	             overdue: not shown within the commit time (CRDT)
//
// A mutation that is resubmitted is applied to the record that is in the state at
// that moment, under the lock of the pin, unless the record has it already; no old
// record is written. With Raft nothing is resubmitted: an accepted write is in the
// log, and a follower that shows it late would put it behind newer ones.
package statesync
