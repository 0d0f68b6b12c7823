package peerstatus

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// State is the replica state of one pin at one peer that should hold it.
type State uint8

// The states, from the least to the most to show the user.
const (
	// Unknown: the peer has never reported on the pin.
	Unknown State = iota
	// Queued: the peer has not begun, or has not seen the record yet.
	Queued
	// Pinning: the peer fetches the content.
	Pinning
	// Lost: the IPFS node of the peer does not have the content that it should
	// have. A retry is due at once.
	Lost
	// Pinned: the IPFS node of the peer confirmed that it has the content pinned.
	Pinned
	// Rewritten: the peer was Pinned when the record was written again. Its
	// tracker may report the pin as queued; the content is still there.
	Rewritten
	// Waiting: the attempt failed because the IPFS node of the peer is
	// unavailable or its pin queue is full. The peer will try again.
	Waiting
	// Retrying: the attempt failed and there are attempts left.
	Retrying
	// Failed: all attempts failed. A success or a record that is written again
	// ends it.
	Failed

	numStates = iota
)

// String is the name of the state, as in the documentation.
func (s State) String() string {
	if s >= numStates {
		return "invalid"
	}
	return [numStates]string{
		"unknown", "queued", "pinning", "lost", "pinned", "rewritten", "waiting", "retrying", "failed",
	}[s]
}

// Report is what the tracker of one peer reports on a pin.
type Report struct {
	Status   api.TrackerStatus
	Error    string
	Attempts int // of the tracker's operation, this one included
	// RecordTime is the Unix second of the record that the report is about;
	// zero when the report does not state it.
	RecordTime int64
	// Stamp is the creation time in the record, for pinrecord.ReadStamp; empty without one.
	Stamp string
	// Revision has the low bits of the revision of that record, as pinset.Pin. It is read of failures
	// only; Revised: it was.
	Revision uint16
	Revised  bool
	// Since is when the operation got its status.
	Since time.Time
}

// ReportOf reads the report of a tracker.
func ReportOf(info api.PinInfo) Report {
	r := Report{Status: info.Status, Error: info.Error, Attempts: info.AttemptCount, Since: info.TS, Stamp: pinrecord.StampIn(info.Metadata)}
	if !info.Created.IsZero() {
		r.RecordTime = info.Created.Unix()
	}
	if r.Stamp != "" && r.Status == api.TrackerStatusPinError {
		rec := api.PinWithOpts(info.Cid, api.PinOptions{Metadata: info.Metadata})
		rec.Timestamp = info.Created
		r.Revision, r.Revised = uint16(pinrecord.RevisionOf(rec)), true
	}
	return r
}

// active reports whether the tracker has an operation that pins.
func (r Report) active() bool {
	return r.Status == api.TrackerStatusPinQueued || r.Status == api.TrackerStatusPinning
}

// Failed reports whether an attempt to pin has failed and none is in progress.
func (r Report) Failed() bool { return r.state() == Retrying }

// state is the state that a report describes by itself, as if it were the first
// about the pin.
func (r Report) state() State {
	switch r.Status {
	case api.TrackerStatusPinned:
		return Pinned
	case api.TrackerStatusPinning:
		return Pinning
	case api.TrackerStatusUnexpectedlyUnpinned:
		return Lost
	case api.TrackerStatusPinError:
		switch clusterapi.CauseOf(r.Error) {
		case clusterapi.CauseIPFSUnavailable, clusterapi.CausePinQueueFull, clusterapi.CauseTimedOut:
			return Waiting
		}
		if r.Attempts == 0 {
			return Unknown // No attempt was made: the tracker failed to read its IPFS node.
		}
		return Retrying
	case api.TrackerStatusClusterError, api.TrackerStatusUndefined, api.TrackerStatusSharded:
		// The tracker could not read its IPFS node or its state.
		return Unknown
	default:
		// "unpinned" and "remote" come from a peer that has not seen the record
		// or its allocation yet; an unpin in progress is overtaken by the record.
		return Queued
	}
}

// afterRewrite is the state that remains when the record is written again: a
// re-add starts the attempts anew.
func (s State) afterRewrite() State {
	switch s {
	case Pinned:
		return Rewritten
	case Retrying, Failed:
		return Queued
	default:
		return s
	}
}
