package statewrite

import (
	"errors"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
)

// Raft is without a leader for a moment whenever it elects another.
func TestOutage_AnElectionIsNone(t *testing.T) {
	var clock clusterfake.Clock
	o := newOutage(clock.Now)
	ctx, cancel := o.bound(t.Context())
	defer cancel()
	for range 3 {
		for range 3 {
			if err := o.observe(errNoLeader); err != nil {
				t.Fatal(err)
			}
			clock.Advance(electionTime / 4)
		}
		if err := o.observe(nil); err != nil {
			t.Fatal(err)
		}
	}
	if ctx.Err() != nil {
		t.Error("a write was ended")
	}
}

func TestOutage_EndsWritesUntilItIsOver(t *testing.T) {
	var clock clusterfake.Clock
	o := newOutage(clock.Now)
	ctx, cancel := o.bound(t.Context())
	defer cancel()
	_ = o.observe(errNoLeader)
	clock.Advance(electionTime)
	if err := o.observe(errNoLeader); !errors.Is(err, errNoLeader) {
		t.Errorf("observe: %v", err)
	}
	<-ctx.Done()
	late, cancelLate := o.bound(t.Context())
	defer cancelLate()
	if late.Err() == nil {
		t.Error("a write begins without consensus")
	}
	if err := o.observe(nil); err != nil {
		t.Error(err)
	}
	again, cancelAgain := o.bound(t.Context())
	defer cancelAgain()
	if again.Err() != nil {
		t.Error("a write is ended when the leader is back")
	}
}
