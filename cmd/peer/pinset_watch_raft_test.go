//go:build !race || nocheckptr

package peer

import (
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-datastore"
)

// Under Raft a divergence is told and left alone.
func TestDivergence_IsToldUnderRaft(t *testing.T) {
	first, second := twoPeers(t, "raft", nil)
	kept, lost := pinNamed(t, "kept"), pinNamed(t, "lost")
	for _, pin := range []api.Pin{kept, lost} {
		pin.Metadata = nil
		noError(t, first.consensus.LogPin(t.Context(), pin))
		settled(t, first, second)
	}
	noError(t, second.pinset.Delete(t.Context(), datastore.NewKey("/r").ChildString(stateKey(lost))))
	for _, p := range []*Peer{first, second} {
		told(t, p, "1 of 1 other peer: its pinset differs from this peer's in at least 1 pin, for longer than changes take to arrive")
	}
	if got := named(second, lost) + named(first, lost); got != "lost" {
		t.Errorf("%q", got)
	}
	if stats := second.watcher.Stats(); stats.Differing != 1 || stats.Pins != 1 || stats.Repaired != 0 {
		t.Errorf("%+v", stats)
	}
}
