package peer

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
)

func TestCRDTConfig_RepairsAreLookedForSoon(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{
		time.Hour: repairInterval, time.Second: time.Second, 0: 0, // The operator wants no repairs.
	} {
		cfg := &crdt.Config{RepairInterval: set}
		if got := crdtConfig(cfg).RepairInterval; got != want || cfg.RepairInterval != set {
			t.Errorf("%s became %s, want %s; the section has %s", set, got, want, cfg.RepairInterval)
		}
	}
}

// Upstream's default stands in every configuration; what an operator has chosen stays.
func TestCRDTConfig_NewsIsToldAgainSoon(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{
		crdt.DefaultRebroadcastInterval: rebroadcastInterval, time.Second: time.Second, time.Hour: time.Hour,
	} {
		cfg := &crdt.Config{RebroadcastInterval: set}
		if got := crdtConfig(cfg).RebroadcastInterval; got != want || cfg.RebroadcastInterval != set {
			t.Errorf("%s became %s, want %s; the section has %s", set, got, want, cfg.RebroadcastInterval)
		}
	}
}

func TestRecheck_IgnoresWhatIsNoPin(t *testing.T) {
	var p Peer
	p.recheck("not base32!", nil)
	p.recheck("AAAA", []byte("value"))
}
