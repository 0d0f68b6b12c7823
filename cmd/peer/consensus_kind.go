package peer

// ConsensusKind is the consensus component of a peer, by its key in the
// section consensus of service.json.
type ConsensusKind string

// The kinds of consensus that IPFS Cluster has.
const (
	// ConsensusCRDT accepts changes at any time and merges them.
	ConsensusCRDT ConsensusKind = "crdt"
	// ConsensusRaft accepts changes while a majority of the peers is connected.
	ConsensusRaft ConsensusKind = "raft"
)
