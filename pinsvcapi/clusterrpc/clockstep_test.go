package clusterrpc_test

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The wall clock of this peer is set by an hour: statuses, retries, caches and
// breakers go on by the monotonic clock, and creation times increase.
func TestClockStep_EverythingGoesOn(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "forward": time.Hour} {
		t.Run(name, func(t *testing.T) {
			fake := clusterfake.New()
			flying, failing := fake.InFlight(pinsvctest.RawCID(1)), fake.InFlight(pinsvctest.RawCID(2))
			held := fake.Held(pinsvctest.RawCID(3))
			b := ready(t, fake, clusterrpc.Options{
				MaxPinAttempts: 3, RetryDelay: 200 * time.Millisecond, ReplicaAwayAfter: 10 * time.Second,
				ActivePollInterval: 10 * time.Millisecond,
			})
			fake.Report(failing.Cid.Cid, clusterfake.Report(api.TrackerStatusPinError, "merkledag: malformed"))
			await.True(t, "a retry", func() bool { b.count(); return fake.Called("PinTracker.Recover") > 0 })
			before := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(4)})
			b.Poller().Breaker().Failure(clusterfake.Other())

			b.clock.Step(step)

			retries := fake.Called("PinTracker.Recover")
			await.True(t, "another retry", func() bool { b.count(); return fake.Called("PinTracker.Recover") > retries })
			await.True(t, "the breaker lets a call pass", func() bool { return b.Poller().Breaker().Allow(clusterfake.Other()) })
			fake.Report(flying.Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
			await.True(t, "the status follows", func() bool { b.count(); return b.get(flying.Cid.Cid).Status == pinned })
			after := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(5)})
			if !after.Created.After(before.Created) {
				t.Errorf("created %s after %s", after.Created, before.Created)
			}
			if st := b.get(held.Cid.Cid); st.Status != pinned || st.Info["replicas"] != "1/1" || len(st.Delegates) == 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}
