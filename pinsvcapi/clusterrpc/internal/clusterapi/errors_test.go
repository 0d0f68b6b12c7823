package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/state"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Texts of the cluster and of its IPFS connector, as they come.
const (
	textFollower  = "this peer is configured to be in follower mode. Write operations are disabled"
	textShortage  = "not enough peers to allocate CID. Needed at least: 2. Wanted at most: 3. Available candidates: 1. See logs for more info."
	textShard     = "cannot repin CID with different tracking method, clear state with pin rm to proceed. New: pin. Was: shard-pin"
	textQueueFull = "error batching item: batching max_queue_size reached. Too many operations are waiting to be batched. Try increasing the max_queue_size"
	textUncertain = "the commit has not succeeded, and the change may still take effect: "
	textStore     = "the store of the shared state takes no writes: "
	textFull      = ": the disk of the Raft log, consensus.raft.data_folder, is full (no space left on device): 1.0 MiB free, of which 32 MiB are kept"
	textBehind    = "this peer is still catching up with the cluster"
	textPinsFull  = "pin/unpin operation queue is full. Try increasing max_pin_queue_size"
	textNoNode    = `Post "http://127.0.0.1:5001/api/v0/pin/add": dial tcp 127.0.0.1:5001: connect: connection refused`
	textRefusal   = "IPFS error (pin/add?arg=x). Code: 500. Message: "
)

func TestCauseOf_Texts(t *testing.T) {
	tests := []struct {
		text string
		want Cause
	}{
		{state.ErrNotFound.Error(), CauseNotFound},
		{"rpc: " + state.ErrNotFound.Error(), CauseNotFound},
		{"client does not have permissions to call Cluster.PinGet", CauseDenied},
		{textFollower, CauseFollower},
		{textShortage, CauseNotEnoughPeers},
		{textShard, CauseShard},
		{textQueueFull, CauseQueueFull},
		{textUncertain + textStore + "input/output error", CauseUncertain},
		{textStore + "input/output error", CauseStore},
		{textLogFull + textFull, CauseStore},
		{"peer 12D3Koo: " + textLeaderLogFull + textFull, CauseStore},
		{textBehind + ": context deadline exceeded", CauseBehind},
		{textPinsFull, CausePinQueueFull},
		{textNoNode, CauseIPFSUnavailable},
		{`Post "http://127.0.0.1:5001/api/v0/pin/add": EOF`, CauseIPFSUnavailable},
		{"read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", CauseIPFSUnavailable},
		{"write: broken pipe", CauseIPFSUnavailable},
		{"lookup ipfs: no such host", CauseIPFSUnavailable},
		{"connect: network is unreachable", CauseIPFSUnavailable},
		{"connect: no route to host", CauseIPFSUnavailable},
		{"read tcp 127.0.0.1:1: i/o timeout", CauseIPFSUnavailable},
		{"unexpected EOF", CauseIPFSUnavailable},
		{textRefusal + "merkledag: not found", CauseRefused},
		{textRefusal + "dial tcp 1.2.3.4:4001: connection refused", CauseRefused},
		{textRefusal + "context deadline exceeded", CauseRefused},
		{context.Canceled.Error(), CauseStalled},
		{context.DeadlineExceeded.Error(), CauseTimedOut},
		{"merkledag: not found", CauseOther},
		{"raft: no leader", CauseOther},
		{"", CauseOther},
	}
	for _, tt := range tests {
		if got := CauseOf(tt.text); got != tt.want {
			t.Errorf("%q: cause %d, want %d", tt.text, got, tt.want)
		}
	}
}

func TestReason_IsShortAndTheNodesOwn(t *testing.T) {
	long := strings.Repeat("ä", 1000)
	for text, want := range map[string]string{
		long:                                 long[:maxReason] + "…",
		"x" + long:                           ("x" + long)[:maxReason-1] + "…", // No half of a letter.
		textRefusal + "merkledag: not found": "merkledag: not found",
		textRefusal + long:                   long[:maxReason] + "…",
		"IPFS error (pin/add?arg=x) without": "IPFS error (pin/add?arg=x) without",
		"the content is malformed":           "the content is malformed",
		"":                                   "",
	} {
		if got := Reason(text); got != want {
			t.Errorf("%q reads %q, want %q", text, got, want)
		}
	}
}

// Each text names the cause in words that operators search for, and the
// configuration key.
func TestFailure_KindAndText(t *testing.T) {
	uncertain := func(why string) string {
		return "the change is not committed yet and may still take effect; " + why + ". Sending the same request again is safe"
	}
	tests := []struct {
		text    string
		kind    pinsvc.Kind
		details string
	}{
		{textUncertain + textStore + "input/output error", pinsvc.KindUnavailable, uncertain("the peer's datastore fails, and the commit is tried again")},
		{textUncertain + textStore + "no space left on device", pinsvc.KindUnavailable, uncertain("the disk of the peer's datastore is full")},
		{textStore + "no space left on device", pinsvc.KindUnavailable, "the change was not begun: the disk of the peer's datastore is full"},
		{textLogFull + textFull, pinsvc.KindUnavailable, "the change was not begun: the disk of this peer's Raft log is full (consensus.raft.data_folder)"},
		{"peer 12D3Koo: " + textLeaderLogFull + textFull, pinsvc.KindUnavailable, "the change was not begun: the disk of the Raft leader's log is full (consensus.raft.data_folder of that peer)"},
		{"the change may still take effect: leadership lost while committing log", pinsvc.KindUnavailable, uncertain("the Raft leader was lost meanwhile")},
		{"no Raft leader has accepted the change within 9s; the change may still take effect", pinsvc.KindUnavailable, uncertain("the Raft leader was lost meanwhile")},
		{"the change is committed, and this peer has not applied it yet; the change may still take effect: context deadline exceeded", pinsvc.KindUnavailable, uncertain("this peer has not received it from the Raft leader yet")},
		{textFollower, pinsvc.KindForbidden, "this peer is in follower mode (cluster.follower_mode): it serves the pinset but cannot change it"},
		{textShortage, pinsvc.KindUnavailable, "not enough peers available for cluster.replication_factor_min: 2 needed, 1 available"},
		{"not enough peers to allocate CID. Needed at least: 2. ", pinsvc.KindUnavailable, "not enough peers available for cluster.replication_factor_min"},
		{textShard, pinsvc.KindBadRequest, DetailsShard},
		{textQueueFull, pinsvc.KindUnavailable, "the cluster's write queue is full (consensus.crdt.batching.max_queue_size)"},
		{textPinsFull, pinsvc.KindUnavailable, "the peer's pin queue is full (pin_tracker.stateless.max_pin_queue_size)"},
		{textNoNode, pinsvc.KindUnavailable, "the IPFS node does not respond"},
		{"context deadline exceeded", pinsvc.KindUnavailable, "the cluster did not pin the content in time"},
		{"raft: no leader", pinsvc.KindUnavailable, "the cluster could not pin the content"},
		{textRefusal + "x", pinsvc.KindUnavailable, "the cluster could not pin the content"},
	}
	for _, tt := range tests {
		cause := errors.New(tt.text)
		err := Failure(cause, "pin the content")
		failure, ok := errors.AsType[*pinsvc.Error](err)
		if !ok || failure.Kind != tt.kind || failure.Details != tt.details {
			t.Errorf("%q: %v, want kind %d and %q", tt.text, err, tt.kind, tt.details)
			continue
		}
		if !errors.Is(err, cause) || !strings.Contains(failure.Err.Error(), "pin the content: "+tt.text) {
			t.Errorf("%q: the log has %v", tt.text, failure.Err)
		}
	}
}

func TestFailure_CancelledRequest(t *testing.T) {
	err := Failure(fmt.Errorf("call: %w", context.Canceled), "pin the content")
	failure, ok := errors.AsType[*pinsvc.Error](err)
	if !ok || failure.Kind != pinsvc.KindUnavailable || failure.Details != "the request was cancelled" {
		t.Errorf("%v", err)
	}
	if !errors.Is(err, context.Canceled) {
		t.Error("the log does not have the cause")
	}
}

func TestFailure_KeepsErrorsForTheClient(t *testing.T) {
	want := &pinsvc.Error{Kind: pinsvc.KindForbidden, Details: "not yours", RetryAfter: time.Minute}
	wrapped := fmt.Errorf("add: %w", want)
	if err := Failure(wrapped, "pin"); err != wrapped {
		t.Errorf("%v, want the error as it was", err)
	}
}

func TestAllocationFailure_NamesTheCause(t *testing.T) {
	cause := errors.New(textShortage) // 2 needed, 1 available.
	for _, tt := range []struct {
		err            error
		alive, members int
		want           string
	}{
		{cause, 1, 3, "not enough peers available for cluster.replication_factor_min: 2 needed, 1 of 3 members respond"},
		{cause, 3, 3, "not enough peers with free space for cluster.replication_factor_min: 2 needed, 1 of 3 report free space; the IPFS nodes of the others are full (Datastore.StorageMax) or unavailable"},
		{errors.New("not enough peers to allocate CID. Needed at least: 2. "), 3, 3, "not enough peers available for cluster.replication_factor_min"},
		{errors.New("raft: no leader"), 3, 3, "the cluster could not choose the peers to hold the pin"},
	} {
		err := AllocationFailure(tt.err, tt.alive, tt.members)
		failure, ok := errors.AsType[*pinsvc.Error](err)
		if !ok || failure.Kind != pinsvc.KindUnavailable || failure.Details != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestFailure_NotFound(t *testing.T) {
	failure, ok := errors.AsType[*pinsvc.Error](NotFound("Qm"))
	if !ok || failure.Kind != pinsvc.KindNotFound || failure.Details != `there is no pin with the request ID "Qm"` {
		t.Errorf("%v", failure)
	}
	for err, want := range map[error]bool{
		state.ErrNotFound:                           true,
		fmt.Errorf("local: %w", state.ErrNotFound):  true,
		errors.New("pin is not part of the pinset"): true,
		errors.New("dial: no route"):                false,
		errors.New("merkledag: not found"):          false,
		nil:                                         false,
	} {
		if got := IsNotFound(err); got != want {
			t.Errorf("%v: not found is %t", err, got)
		}
	}
}
