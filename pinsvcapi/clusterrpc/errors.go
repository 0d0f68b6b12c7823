package clusterrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/state"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// cause is why a call to the cluster failed, as far as it makes a difference.
type cause uint8

const (
	causeOther         cause = iota
	causeNotFound            // the state has no such pin
	causeFollower            // this peer must not write
	causeNotEnoughPeer       // the replication factor cannot be reached now
	causePart                // the CID is a part of a sharded pin
	causeIPFSAway            // an IPFS node did not answer
	causeQueueFull           // the cluster takes no more writes for now
	causeTooManyPins         // a tracker takes no more pins for now
	causeRefused             // an IPFS node answered, with an error of its own
	causeStalled             // nothing of the content came for too long
	causeTooSlow             // somebody did not answer in time
)

// texts are found in failures whose Go value did not survive: those of other
// peers always, and those that the cluster declares without a name.
var texts = []struct {
	text  string
	cause cause
}{
	{state.ErrNotFound.Error(), causeNotFound},
	{"configured to be in follower mode", causeFollower},
	{"not enough peers to allocate", causeNotEnoughPeer},
	{"cannot repin CID with different tracking method", causePart},
	{"max_queue_size reached", causeQueueFull},
	{"operation queue is full", causeTooManyPins},
	// What an IPFS node says itself may contain anything that follows.
	{refusedPrefix, causeRefused},
	// How net/http, net and the cluster's IPFS connector say that nobody
	// answers.
	{"IPFS request failed (is it running?)", causeIPFSAway},
	{"connection refused", causeIPFSAway},
	{"connection reset", causeIPFSAway},
	{"broken pipe", causeIPFSAway},
	{"no such host", causeIPFSAway},
	{"network is unreachable", causeIPFSAway},
	{"no route to host", causeIPFSAway},
	{"i/o timeout", causeIPFSAway},
	{"dial tcp", causeIPFSAway},
	{"unexpected EOF", causeIPFSAway},
	{": EOF", causeIPFSAway},
	// The connector cancels a pin that makes no progress.
	{"context canceled", causeStalled},
	{context.DeadlineExceeded.Error(), causeTooSlow},
}

// refusedPrefix and refusedMessage surround what is not the IPFS node's own
// in a failure that is.
const refusedPrefix, refusedMessage = "IPFS error (", ". Message: "

// causeOf is the one function that reads the text of failures: of calls, and
// of the tracker's reports, which carry text alone.
func causeOf(text string) cause {
	for _, t := range texts {
		if strings.Contains(text, t.text) {
			return t.cause
		}
	}
	return causeOther
}

// isNotFound reports whether the state said that it has no such pin. Failures
// of local calls keep their value; the text decides on all others.
func isNotFound(err error) bool {
	return errors.Is(err, state.ErrNotFound) || err != nil && causeOf(err.Error()) == causeNotFound
}

// maxReason bounds a reason, of which there may be one for each pin.
const maxReason = 256

// reasonOf is what a client's human is told of a tracker's failure.
func reasonOf(text string) string {
	switch causeOf(text) {
	case causeRefused:
		if _, message, ok := strings.Cut(text, refusedMessage); ok {
			text = message
		}
	case causeStalled:
		return "nothing of the content was received for as long as the peer is set to wait"
	}
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// failure turns a failed call into what a client may be told. What is being
// done reads like "read the pin".
func failure(err error, doing string) error {
	var told *pinsvc.Error
	if errors.As(err, &told) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return pinsvc.Wrap(pinsvc.KindUnavailable, err, "the request was given up")
	}
	cause := fmt.Errorf("%s: %w", doing, err)
	switch causeOf(err.Error()) {
	case causeFollower:
		return pinsvc.Wrap(pinsvc.KindForbidden, cause, "this peer follows a cluster that others write: it serves its pins but cannot change them")
	case causeNotEnoughPeer:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "too few peers of the cluster are there to hold as many copies as it is set to keep")
	case causePart:
		return pinsvc.Wrap(pinsvc.KindBadRequest, cause, "the CID is a part of sharded content that the cluster holds, and cannot be pinned by itself")
	case causeQueueFull, causeTooManyPins:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the cluster has as many requests waiting as it is set to take")
	case causeIPFSAway:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the IPFS node does not answer")
	default:
		return pinsvc.Wrap(pinsvc.KindUnavailable, cause, "the cluster could not %s", doing)
	}
}

// notFound is the answer to every request ID that nothing is known of.
func notFound(requestID string) error {
	return pinsvc.Errorf(pinsvc.KindNotFound, "there is no pin with the request ID %q", requestID)
}
