package peerstatus

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// pinInfo is the report of a tracker; a failure is that of its first attempt.
func pinInfo(status api.TrackerStatus, text string) api.PinInfo {
	info := api.PinInfo{PinInfoShort: api.PinInfoShort{Status: status, Error: text}}
	if status == api.TrackerStatusPinError {
		info.AttemptCount = 1
	}
	return info
}

// neverAttempted is a failure of a tracker before any attempt.
func neverAttempted(text string) api.PinInfo {
	info := pinInfo(api.TrackerStatusPinError, text)
	info.AttemptCount = 0
	return info
}

func TestReport_State(t *testing.T) {
	tests := []struct {
		name string
		info api.PinInfo
		want State
	}{
		{"pinned", pinInfo(api.TrackerStatusPinned, ""), Pinned},
		{"pinning", pinInfo(api.TrackerStatusPinning, ""), Pinning},
		{"in the queue", pinInfo(api.TrackerStatusPinQueued, ""), Queued},
		{"has not seen the record", pinInfo(api.TrackerStatusUnpinned, ""), Queued},
		{"has not seen its allocation", pinInfo(api.TrackerStatusRemote, ""), Queued},
		{"an earlier unpin is in progress", pinInfo(api.TrackerStatusUnpinning, ""), Queued},
		{"an earlier unpin is queued", pinInfo(api.TrackerStatusUnpinQueued, ""), Queued},
		{"an earlier unpin failed", pinInfo(api.TrackerStatusUnpinError, "x"), Queued},
		{"lost by the IPFS node", pinInfo(api.TrackerStatusUnexpectedlyUnpinned, "x"), Lost},
		{"refused by the IPFS node", pinInfo(api.TrackerStatusPinError, textRefused), Retrying},
		{"the pin queue is full", pinInfo(api.TrackerStatusPinError, textQueueFull), Waiting},
		{"the IPFS node is unavailable", pinInfo(api.TrackerStatusPinError, textUnavailable), Waiting},
		{"the IPFS node cannot be read", pinInfo(api.TrackerStatusClusterError, textUnavailable), Unknown},
		{
			"the IPFS node became unavailable meanwhile",
			pinInfo(api.TrackerStatusPinError, `Post "http://127.0.0.1:5001/api/v0/pin/add": EOF`), Waiting,
		},
		{
			"the IPFS node names another node that is unavailable",
			pinInfo(api.TrackerStatusPinError, "IPFS error (pin/add?arg=x). Code: 500. Message: pin: dial tcp 1.2.3.4:4001: connection refused"),
			Retrying,
		},
		{"the IPFS node did not respond in time", pinInfo(api.TrackerStatusPinError, textTimedOut), Waiting},
		{"the IPFS node could not be read in time", neverAttempted(textTimedOut), Waiting},
		{"the read was cancelled", neverAttempted(textStalled), Unknown},
		{"the read failed", neverAttempted(textRefused), Unknown},
		{"no progress", pinInfo(api.TrackerStatusPinError, textStalled), Retrying},
		{"says nothing", pinInfo(api.TrackerStatusUndefined, ""), Unknown},
		{"a shard index", pinInfo(api.TrackerStatusSharded, ""), Unknown},
	}
	for _, tt := range tests {
		if got := ReportOf(tt.info).state(); got != tt.want {
			t.Errorf("%s: state %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestReport_OfATracker(t *testing.T) {
	created, since := time.Unix(1_700_000_000, 999), time.Unix(1_700_000_100, 0)
	info := api.PinInfo{
		Cid: api.NewCid(pinsvctest.RawCID(1)), Created: created,
		PinInfoShort: api.PinInfoShort{Status: api.TrackerStatusPinError, Error: textRefused, AttemptCount: 7, TS: since},
	}
	want := Report{
		Status: api.TrackerStatusPinError, Error: textRefused, Attempts: 7,
		RecordTime: created.Unix(), Since: since,
	}
	if got := ReportOf(info); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	info.Created = time.Time{} // The tracker does not know the record.
	if got := ReportOf(info).RecordTime; got != 0 {
		t.Errorf("a report on no record is about one of %d", got)
	}
}

func TestState_String(t *testing.T) {
	seen := make(map[string]bool)
	for s := range State(numStates) {
		if name := s.String(); name == "" || name == "invalid" || seen[name] {
			t.Errorf("state %d is called %q", s, name)
		}
		seen[s.String()] = true
	}
	if got := State(numStates).String(); got != "invalid" {
		t.Errorf("no state is called %q", got)
	}
}
