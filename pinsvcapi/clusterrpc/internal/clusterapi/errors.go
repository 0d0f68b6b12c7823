package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/state"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Cause is why a call to the cluster, or an operation of a tracker, failed, as
// far as the difference matters.
type Cause uint8

// The causes. The zero value is a failure of no known kind.
const (
	CauseOther           Cause = iota
	CauseNotFound              // the state has no such pin
	CauseFollower              // this peer must not write
	CauseNotEnoughPeers        // the replication factor cannot be reached now
	CauseShard                 // the CID belongs to a sharded pin
	CauseIPFSUnavailable       // an IPFS node did not respond
	CauseChanged               // the record is not the one that was to be changed
	CauseUncertain             // the change is not committed, and may be later
	CauseStore                 // the store of the shared state takes no writes
	CauseBehind                // the peer has not received older changes yet
	CauseQueueFull             // the cluster takes no more writes for now
	CausePinQueueFull          // a tracker takes no more pins for now
	CauseRefused               // an IPFS node responded with an error of its own
	CauseStalled               // no data arrived within pin_timeout
	CauseTimedOut              // a call took too long
	CauseDenied                // the other peer does not let this one call the method
	CauseStarting              // the other peer has no complete state yet
)

// causeTexts are substrings of failures whose Go value did not survive: those of
// other peers always, and those for which the cluster has no variable.
var causeTexts = [...]struct {
	text  string
	cause Cause
}{
	{state.ErrNotFound.Error(), CauseNotFound},
	{"client does not have permissions to call", CauseDenied},
	// Of cmd/peer, appliedConsensus; and of a host whose cluster is not there yet.
	{"the peer is starting", CauseStarting},
	{"protocols not supported", CauseStarting},
	{"configured to be in follower mode", CauseFollower},
	{"not enough peers to allocate", CauseNotEnoughPeers},
	{"cannot repin CID with different tracking method", CauseShard},
	// Of cmd/peer/groupcommit and raftstate; the first may have one of the others in it.
	{ErrChanged.Error(), CauseChanged},
	{"the change may still take effect", CauseUncertain},
	{"the store of the shared state takes no writes", CauseStore},
	{textLogFull, CauseStore},
	{textLeaderLogFull, CauseStore},
	{"still catching up with the cluster", CauseBehind},
	{"max_queue_size reached", CauseQueueFull},
	{"operation queue is full", CausePinQueueFull},
	// The message of an IPFS node may contain any of the texts below.
	{refusedPrefix, CauseRefused},
	// How net/http, net and the cluster's IPFS connector report that there is
	// no response.
	{"IPFS request failed (is it running?)", CauseIPFSUnavailable},
	{"connection refused", CauseIPFSUnavailable},
	{"connection reset", CauseIPFSUnavailable},
	{"broken pipe", CauseIPFSUnavailable},
	{"no such host", CauseIPFSUnavailable},
	{"network is unreachable", CauseIPFSUnavailable},
	{"no route to host", CauseIPFSUnavailable},
	{"i/o timeout", CauseIPFSUnavailable},
	{"dial tcp", CauseIPFSUnavailable},
	{"unexpected EOF", CauseIPFSUnavailable},
	{": EOF", CauseIPFSUnavailable},
	// The connector cancels a pin that makes no progress (U23 in
	// docs/upstream-faults.md).
	{"context canceled", CauseStalled},
	{context.DeadlineExceeded.Error(), CauseTimedOut},
}

// textLogFull and textLeaderLogFull are of cmd/peer/raftstate: this peer, or the Raft leader that it handed a
// change to, has no space for it on the disk of its log.
const (
	textLogFull       = "this peer's Raft log takes no writes"
	textLeaderLogFull = "the Raft leader's log takes no writes"
)

// refusedPrefix and refusedMessage surround what the connector adds to the
// message of an IPFS node.
const refusedPrefix, refusedMessage = "IPFS error (", ". Message: "

// CauseOf reads the text of a failure, of a call or of a tracker's report. It is
// the only function that does.
func CauseOf(text string) Cause {
	for _, known := range causeTexts {
		if strings.Contains(text, known.text) {
			return known.cause
		}
	}
	return CauseOther
}

// IsNotFound reports whether the state has no such pin. Failures of local calls
// keep their value; the text decides on all others.
func IsNotFound(err error) bool {
	return errors.Is(err, state.ErrNotFound) || err != nil && CauseOf(err.Error()) == CauseNotFound
}

// IsDenied reports whether another peer refused a call by its RPC policy, or because it
// does not trust this peer.
func IsDenied(err error) bool { return err != nil && CauseOf(err.Error()) == CauseDenied }

// IsStarting reports whether another peer is there and has no complete state yet.
func IsStarting(err error) bool { return err != nil && CauseOf(err.Error()) == CauseStarting }

// IsChanged reports whether a write to one version of a record found another one.
func IsChanged(err error) bool { return err != nil && CauseOf(err.Error()) == CauseChanged }

// StorageFull reports whether the text of a tracker's failure says that the IPFS node
// has no space left. Only messages of IPFS nodes do: the cluster's own storage may be
// full as well.
func StorageFull(text string) bool {
	return CauseOf(text) == CauseRefused && (strings.Contains(text, "no space left") || strings.Contains(text, "quota exceeded"))
}

// maxReason bounds a reason, of which there may be one for each pin.
const maxReason = 256

// Reason shortens the text of a tracker's failure to what helps the user: for
// an error of the IPFS node, the node's own message.
func Reason(text string) string {
	if CauseOf(text) == CauseRefused {
		if _, message, ok := strings.Cut(text, refusedMessage); ok {
			text = message
		}
	}
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// Texts that more than one kind of failure has.
const (
	// DetailsShard is the response to a request that pins a shard by itself.
	DetailsShard = "the CID belongs to sharded content that the cluster holds, and cannot be pinned by itself"
	// DetailsIPFSUnavailable reports that the IPFS node does not respond.
	DetailsIPFSUnavailable = "the IPFS node does not respond"
)

// Failure turns the error of a call into one for the client: a *pinsvc.Error
// whose details name the cause and the configuration key. action reads like
// "read the pin". The cause itself is kept for the log. An error that is a
// *pinsvc.Error already is returned as it is.
func Failure(err error, action string) error {
	if _, ok := errors.AsType[*pinsvc.Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return pinsvc.Wrap(pinsvc.KindUnavailable, err, "the request was cancelled")
	}
	cause := fmt.Errorf("%s: %w", action, err)
	switch CauseOf(err.Error()) {
	case CauseFollower:
		return pinsvc.Wrap(pinsvc.KindForbidden, cause, "this peer is in follower mode (cluster.follower_mode): it serves the pinset but cannot change it")
	case CauseNotEnoughPeers:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "%s", shortageOf(err).describe())
	case CauseShard:
		return pinsvc.Wrap(pinsvc.KindBadRequest, cause, DetailsShard)
	case CauseUncertain:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the change is not committed yet and may still take effect; %s. Sending the same request again is safe", storeState(err))
	case CauseStore:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the change was not begun: %s", storeState(err))
	case CauseBehind:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "this peer is still catching up with the cluster, and older changes of the pin may be to come")
	case CauseQueueFull:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the cluster's write queue is full (consensus.crdt.batching.max_queue_size)")
	case CausePinQueueFull:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the peer's pin queue is full (pin_tracker.stateless.max_pin_queue_size)")
	case CauseIPFSUnavailable:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, DetailsIPFSUnavailable)
	case CauseTimedOut:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the cluster did not %s in time", action)
	default:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the cluster could not %s", action)
	}
}

// storeState says what is known of the store that did not commit a change.
func storeState(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, textLogFull):
		return "the disk of this peer's Raft log is full (consensus.raft.data_folder)"
	case strings.Contains(text, textLeaderLogFull):
		return "the disk of the Raft leader's log is full (consensus.raft.data_folder of that peer)"
	case strings.Contains(text, "no space left on device"):
		return "the disk of the peer's datastore is full"
	case CauseOf(strings.ReplaceAll(text, "the change may still take effect", "")) == CauseBehind:
		return "this peer is still catching up with the cluster"
	// Of cmd/peer/raftstate, and of hashicorp/raft.
	case strings.Contains(text, "this peer has not applied it yet"):
		return "this peer has not received it from the Raft leader yet"
	case strings.Contains(text, "Raft leader"), strings.Contains(text, "leadership"):
		return "the Raft leader was lost meanwhile"
	case strings.Contains(text, context.DeadlineExceeded.Error()):
		return "the peer's datastore did not commit it in time"
	default:
		return "the peer's datastore fails, and the commit is tried again"
	}
}

// NotFound is the error for every request ID that names no pin.
func NotFound(requestID string) error {
	return pinsvc.Errorf(pinsvc.KindNotFound, "there is no pin with the request ID %q", requestID)
}

// shortage is what an allocation lacked: upstream's numbers, empty when its
// text has none.
type shortage struct{ needed, candidates string }

// shortageText is made by allocationError of the cluster's allocate.go.
var shortageText = regexp.MustCompile(`Needed at least: (\d+)\..*Available candidates: (\d+)\.`)

func shortageOf(err error) shortage {
	found := shortageText.FindStringSubmatch(err.Error())
	if found == nil {
		return shortage{}
	}
	return shortage{found[1], found[2]}
}

func (s shortage) describe() string {
	if s.needed == "" {
		return "not enough peers available for cluster.replication_factor_min"
	}
	return fmt.Sprintf("not enough peers available for cluster.replication_factor_min: %s needed, %s available", s.needed, s.candidates)
}

// AllocationFailure is Failure for an allocation that lacked peers, by its cause: the
// cluster's error is the same for peers that do not respond and for peers that report
// no free space, which the allocator requires. alive is the number of peers that
// sent a ping, of so many members.
func AllocationFailure(err error, alive, members int) error {
	lacked, cause := shortageOf(err), fmt.Errorf("allocate: %w", err)
	var needed int
	if _, scanErr := fmt.Sscan(lacked.needed, &needed); scanErr != nil {
		return Failure(err, "choose the peers to hold the pin")
	}
	if alive < needed {
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause,
			"not enough peers available for cluster.replication_factor_min: %d needed, %d of %d members respond", needed, alive, members)
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, cause,
		"not enough peers with free space for cluster.replication_factor_min: %d needed, %s of %d report free space; the IPFS nodes of the others are full (Datastore.StorageMax) or unavailable",
		needed, lacked.candidates, alive)
}
