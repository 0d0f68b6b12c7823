// Package faults runs a cluster of real daemons through random faults under
// load and checks afterwards that nothing that was accepted is lost.
//
// Three peers, each with its managed Kubo, run in network namespaces of their
// own. The runner is the switch between them: it forwards their packets, so it
// can cut a link, cut it in one direction, or slow it. A fourth namespace has a
// Kubo that provides the content. Nothing can leave the machine: the namespaces
// have no other interface. The folders of the peers are small tmpfs, which can be
// full, and the daemons read a clock that can be wrong.
//
// A run has rounds. In each one, clients send requests to all peers while the
// faults of a schedule happen, then everything is healed and the checkers
// compare the history of all requests and answers with what each peer says and
// with what each IPFS node has pinned:
//
//   - register: each CID of one client is a register (porcupine). Reads at the
//     peer that took the last write see it. Reads at other peers may be old, but
//     do not go back while that peer runs.
//   - reads: what one peer accepted is known to the others at once, while no
//     fault is there or has just been. Each round begins with a time without
//     faults, after all peers were seen to agree and to hear of each other. The
//     summary counts the reads that this was checked of.
//   - custody: content that was reported as pinned, or that was pinned after a round,
//     is pinned by at least one node at each moment, until a client deletes or replaces
//     it. Of the CIDs that all clients share, half are never deleted and have to be
//     somewhere for ever.
//   - agreement: after healing all peers list and count the same rows, each of them is
//     in the shared state of each peer, for the same nodes, and each row is what some
//     client wrote for that CID. No row is of a CID that nobody wrote, and those of pins
//     with an end are gone, unless a wrong clock made the end.
//   - truth: after healing, pinned is said exactly of what enough of the nodes that it is
//     for have pinned, info.replicas says how many have, and no node has recursive
//     pins, of any CID, that are in no list or for others.
//   - answers: no answer has another pin's name, metadata, origins or expiry; no
//     500; each 503 has Retry-After; no daemon ends by itself, panics or reports
//     a data race.
//   - coverage: a run of 10 minutes has checked reads, and one of 30 has had 100 faults
//     and 50,000 acknowledged writes.
//
// Each pin is at all peers, or at fewer (Plan.Copies): then it is for the nodes that the
// allocations name, which move when a pin is added again while one of them is away.
//
// One seed determines the schedule and what the clients choose. Run it with
//
//	make faults                                       30 minutes with CRDT
//	make faults FAULTS=5m MODE=raft SEED=7 COPIES=2   as long and as often as one likes
package faults
