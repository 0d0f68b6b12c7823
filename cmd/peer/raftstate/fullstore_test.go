//go:build !race || nocheckptr

package raftstate

import (
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// A committed entry that could not be written was passed over, and the state was inconsistent until the
// peer started anew.
func TestConsensus_AnEntryWaitsForSpace(t *testing.T) {
	t.Parallel()
	m := members(t, 1, 0, nil)[0]
	pin := api.PinCid(cidOf(1))
	noError(t, again(func() error { return m.consensus.LogPin(t.Context(), pin) }))
	disk := m.disk
	fill := func(n int) (ended chan error) {
		disk.refused.Store(0)
		disk.full.Store(true)
		ended = make(chan error, 1)
		go func() { ended <- m.consensus.LogPin(t.Context(), api.PinCid(cidOf(n))) }()
		await.True(t, "an entry that is tried again", func() bool { return disk.refused.Load() > 1 })
		return ended
	}
	ended := fill(2)
	disk.full.Store(false)
	noError(t, <-ended)
	st, err := m.consensus.State(t.Context())
	noError(t, err)
	for n := 1; n <= 2; n++ {
		_, err := st.Get(t.Context(), cidOf(n))
		noError(t, err)
	}
	fill(3)
	m.stop() // It does not wait for space.
}
