package tracking

import (
	"context"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// Who stops to read a report on all pins leaves no list of the state behind (U24).
func TestStatusAll_ThatIsGivenUpLeavesNoListBehind(t *testing.T) {
	s := newSetup(t, 1)
	const more = 4096 // Than all channels on the way have room for.
	for n := range more {
		s.shared.set(elsewhere(record(n, "")))
	}
	for range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		out, ended := make(chan api.PinInfo), make(chan error, 1)
		go func() { ended <- s.StatusAll(ctx, api.TrackerStatusUndefined, out) }()
		<-out
		cancel()
		if err := <-ended; err == nil {
			t.Error("the report is complete")
		}
	}
	await.True(t, "all lists have ended", func() bool { return s.shared.lists.Load() == 0 })
}
