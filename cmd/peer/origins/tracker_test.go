package origins

import (
	"context"
	"errors"
	"reflect"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/pintracker/optracker"
	"github.com/libp2p/go-libp2p/core/peer"
)

// fakeTracker writes down what it gets into a log that it shares.
type fakeTracker struct {
	ipfscluster.PinTracker
	calls *[]string
	err   error
}

func (f fakeTracker) Track(context.Context, api.Pin) error {
	*f.calls = append(*f.calls, "track")
	return f.err
}

func (f fakeTracker) Untrack(context.Context, api.Cid) error {
	*f.calls = append(*f.calls, "untrack")
	return f.err
}

// Only what this peer is to hold is of interest, and only after the inner
// tracker has it.
func TestTracker_Track(t *testing.T) {
	self, other := nodeID(1), nodeID(2)
	everywhere, here, elsewhere, shards := record(1), record(1), record(1), record(1)
	everywhere.ReplicationFactorMin, everywhere.ReplicationFactorMax = -1, -1
	here.ReplicationFactorMin, here.ReplicationFactorMax, here.Allocations = 1, 1, []peer.ID{other, self}
	elsewhere.ReplicationFactorMin, elsewhere.ReplicationFactorMax, elsewhere.Allocations = 1, 1, []peer.ID{other}
	shards.Type = api.MetaType
	full := errors.New("the queue is full")
	for name, test := range map[string]struct {
		pin  api.Pin
		err  error
		want []string
	}{
		"everywhere":    {pin: everywhere, want: []string{"track", "update"}},
		"here":          {pin: here, want: []string{"track", "update"}},
		"elsewhere":     {pin: elsewhere, want: []string{"track"}},
		"sharded":       {pin: shards, want: []string{"track"}},
		"tracker fails": {pin: here, err: full, want: []string{"track", "update"}},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []string
			tracker := NewTracker(fakeTracker{calls: &calls, err: test.err}, self, func(pin api.Pin) {
				if !pin.Equals(test.pin) {
					t.Errorf("update of %v", pin)
				}
				calls = append(calls, "update")
			})
			if err := tracker.Track(t.Context(), test.pin); !errors.Is(err, test.err) {
				t.Errorf("the error is %v", err)
			}
			if !reflect.DeepEqual(calls, test.want) {
				t.Errorf("calls %v, want %v", calls, test.want)
			}
		})
	}
}

// TestTracker_UpstreamIgnoresNewRecord shows the fault that the Tracker is for.
// When it fails, upstream has mended it.
func TestTracker_UpstreamIgnoresNewRecord(t *testing.T) {
	operations := optracker.NewOperationTracker(t.Context(), nodeID(1), "")
	first := operations.TrackNewOperation(t.Context(), record(1), optracker.OperationPin, optracker.PhaseInProgress)
	second := operations.TrackNewOperation(t.Context(), record(1, publicOrigin(t, 1)), optracker.OperationPin, optracker.PhaseQueued)
	if second != nil || first.Canceled() {
		t.Error("the operation in progress was replaced")
	}
	if len(first.Pin().Origins) != 1 {
		t.Error("the operation in progress keeps its record")
	}
}
