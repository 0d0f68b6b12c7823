package pinsvctest

import (
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestFakeKeepsTheContract(t *testing.T) {
	RunBackendTests(t, func(t *testing.T) Harness {
		fake := NewFake()
		t.Cleanup(fake.Close)
		return Harness{
			Backend:      fake,
			SetStatus:    func(_ testing.TB, id string, status pinsvc.Status) { fake.SetStatus(id, status) },
			PinElsewhere: func(_ testing.TB, created time.Time, pins ...pinsvc.Pin) { fake.PinElsewhere(created, pins...) },
			Keeps:        func(_ testing.TB, c cid.Cid) bool { return fake.Keeps(c) },
			Cut: func(testing.TB) func() {
				fake.Fail(pinsvc.Errorf(pinsvc.KindUnavailable, "the state cannot be reached"))
				return func() { fake.Fail(nil) }
			},
		}
	})
}
