// Package peerstatus decides the status of every pin (D5): a pure reducer. The
// records of the shared state and the reports of peers go in; one status for
// each pin comes out, in the ordered view. The package has no RPC client, no
// context and no goroutine, so its table test is the specification of D5.
//
// What each peer contributes to a pin is a State. The reports of the trackers
// move it (R: the record was written again by a re-add or replace):
//
//	                     pinned                 queued, pinning (same record),
//	┌──────────┐ ──────────────────► ┌────────┐ unexpectedly_unpinned   ┌──────┐
//	│ Unknown  │                     │ Pinned │ ──────────────────────► │ Lost │
//	└──────────┘   ┌───────────────► └────────┘ ◄────────────────────── └──────┘
//	  │ queued     │ pinned       R, or │  ▲          pinned              ▲
//	  ▼            │    queued, pinning │  │ pinned                       │
//	┌──────────┐   │   (another record) ▼  │                              │
//	│ Queued   │ ──┤              ┌───────────┐  unexpectedly_unpinned    │
//	└──────────┘   │              │ Rewritten │ ──────────────────────────┤
//	  │ pinning    │              └───────────┘                           │
//	  ▼            │                                                      │
//	┌──────────┐   │  unexpectedly_unpinned without a confirmation: from  │
//	│ Pinning  │ ──┤  Unknown, Queued, Pinning, Waiting                   │
//	└──────────┘   │ ─────────────────────────────────────────────────────┘
//	  │ pin_error  │                           R
//	  ▼            │           ┌──────────────────────────────► Queued
//	┌──────────┐ ──┤           │
//	│ Retrying │ ──┼──────► Failed      after max_pin_attempts; ends with
//	└──────────┘   │ pin_error          a success or R only
//	  ▲            │
//	┌──────────┐   │  pin_error because the IPFS node is unavailable or the
//	│ Waiting  │ ──┘  pin queue is full; such attempts do not count
//	└──────────┘
//
// The diagram leaves out:
//   - A pin_error may come at any time. It makes a peer Retrying, or Failed when
//     it was the last attempt. One for lack of an IPFS node or of room makes the
//     peer Waiting, but a peer that is Pinned, Rewritten or Failed stays so.
//   - Waiting ends with the next report of an operation that pins. While a peer is
//     Retrying, Failed, Lost or Rewritten, such reports change nothing.
//   - A confirmation stays valid (Rewritten) while the tracker queues the pin
//     again for its new record. R leaves all other states but Retrying and Failed
//     as they are.
//   - A tracker that reports "unpinned" or "remote", or an unpin operation, has not
//     seen the record yet: the peer is Queued, unless it is Retrying or Failed.
//   - For trackerLag after the record was written, unexpectedly_unpinned leaves
//     Unknown and Queued peers Queued, and pinned leaves Rewritten peers Rewritten.
//   - A pinned report on an older record, or on one with another creation time, confirms nothing
//     of a peer that is not Pinned or Rewritten: it may be of a direct pin that is recursive now,
//     or of a pin whose removal that peer has not seen yet.
//   - Another pin of the same content, and a direct pin that becomes recursive,
//     make all peers Unknown.
//
// A report that does not cover the content (the tracker could not read its IPFS
// node) or is about an earlier pin changes nothing, except that an Unknown peer
// that reports on an earlier pin is Queued. The same holds for failures of an
// earlier record. A peer that does not report keeps its last confirmed state.
// TestTracker_Transitions has the complete table.
//
// Every pin has two interned numbers: its placement (who should hold it) and its
// vector (the State of each of those peers). A summary of the two is the status:
// see counts.status for the rule.
//
// All exported methods are safe for concurrent use. Locks are taken in this
// order: the view's, then that of Placements or of the failure table.
package peerstatus
