package faults

import "fmt"

// Mode is how the peers agree on the pinset.
type Mode string

// The modes.
const (
	CRDT     Mode = "crdt"
	Batching Mode = "batching" // CRDT with consensus.crdt.batching
	Raft     Mode = "raft"
)

// Modes are all modes.
func Modes() []Mode { return []Mode{CRDT, Batching, Raft} }

func (m Mode) validate() error {
	for _, known := range Modes() {
		if m == known {
			return nil
		}
	}
	return fmt.Errorf("unknown mode %q: it is one of %q", m, Modes())
}

// consensus is the value of init's flag.
func (m Mode) consensus() string {
	if m == Raft {
		return "raft"
	}
	return "crdt"
}

// configure sets what a run needs of the consensus. Raft's logs are so small
// that a peer that was away gets a snapshot.
func (m Mode) configure(consensus object) {
	switch m {
	case Raft:
		raft := consensus.at("raft")
		raft["snapshot_threshold"] = 64
		raft["trailing_logs"] = 32
		raft["snapshot_interval"] = "5s"
	case Batching:
		consensus.at("crdt", "batching")["max_batch_size"] = 20
		consensus.at("crdt", "batching")["max_batch_age"] = "500ms"
		fallthrough
	default:
		// Peers hear soon what they missed; the default is a minute.
		consensus.at("crdt")["rebroadcast_interval"] = "5s"
	}
}
