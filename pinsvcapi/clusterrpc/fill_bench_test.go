package clusterrpc_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// fillWith puts n pins of this program into the state, all of them pinned. Each has the
// origins of its client.
func fillWith(b *testing.B, fake *clusterfake.Services, n int) {
	written := time.Unix(1_750_000_000, 0)
	origins := []api.Multiaddr{origin(b, 1), origin(b, 2)}
	for i := range n {
		pin := pinsvc.Pin{
			CID: pinsvctest.RawCID(i), Name: fmt.Sprintf("backup of %010d", i),
			Meta: map[string]string{"app": fmt.Sprint(i % 100)},
		}
		rec := pinrecord.WithRequest(pinrecord.New(pin.CID), pin)
		rec.Allocations, rec.ReplicationFactorMin, rec.ReplicationFactorMax = []peer.ID{clusterfake.Self()}, 1, 1
		rec.Timestamp, rec.Origins = written.Add(time.Duration(i)*time.Millisecond), origins
		pinrecord.Stamp(rec, rec.Timestamp)
		fake.Pins[pin.CID] = rec
		info := clusterfake.Report(api.TrackerStatusPinned, "")
		info.Created = rec.Timestamp
		fake.Reports[pin.CID] = info
	}
}

// BenchmarkFill is what a start costs beside what the reads of the datastore and of the
// IPFS node's pins do: the records and reports are in memory.
func BenchmarkFill(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			fake := clusterfake.New()
			fillWith(b, fake, n)
			client := fake.Client(b)
			for b.Loop() {
				var before, after runtime.MemStats
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				backend := clusterrpc.New(client, clusterrpc.Options{Self: clusterfake.Self()})
				await.True(b, "ready", func() bool { return backend.Ready() == nil })
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				if got := backend.View().Count(pinsvc.SetOf(pinsvc.StatusPinned)); got != n {
					b.Fatalf("%d of %d pins are pinned", got, n)
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/pin")
				backend.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "pins/s")
		})
	}
}
