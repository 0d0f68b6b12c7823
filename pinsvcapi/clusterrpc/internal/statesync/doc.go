// Package statesync keeps the view equal to the shared state: a reflector, as in
// client-go. It lists the whole state (Resync), watches events of changes, and
// lists again from time to time, or when events were lost. An event is read until
// that succeeds: as long as a disk is full, for instance.
//
// Where the consensus returns before the state has a write, the writes of this peer
// that it accepted are laid over what is read (Uncommitted), so that a writer reads its
// own writes: with CRDT batching until the batch is committed, on a Raft follower
// until the log has come back.
//
// Life of an uncommitted write:
//
//	accepted ──► uncommitted ──► committed: the state shows it
//	                         ──► superseded: the state shows something else, or an
//	                         │   event reports a change after the write's own
//	                         ──► lost: the state has not shown it for 64 times the
//	                             time that it usually takes
//
// No write is submitted a second time. That the state does not show it is no evidence
// that it is lost, however long it takes: a process may have been frozen, and then a
// second copy would undo what others wrote after the first.
package statesync
