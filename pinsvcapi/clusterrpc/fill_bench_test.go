package clusterrpc

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// fillWith puts n pins of this program into the state, all of them held.
func (s *services) fillWith(n int) {
	written := time.Unix(1_750_000_000, 0)
	for i := range n {
		pin := pinsvc.Pin{
			CID: pinsvctest.RawCID(i), Name: fmt.Sprintf("backup of %010d", i),
			Meta: map[string]string{"app": fmt.Sprint(i % 100)},
		}
		rec := asked(newRecord(pin), pin)
		rec.Allocations, rec.ReplicationFactorMin, rec.ReplicationFactorMax = []peer.ID{me}, 1, 1
		rec.Timestamp = written.Add(time.Duration(i) * time.Millisecond)
		stamp(rec, rec.Timestamp)
		s.pins[pin.CID] = rec
		info := says(api.TrackerStatusPinned, "")
		info.Created = rec.Timestamp
		s.answers[pin.CID] = info
	}
}

// BenchmarkFill is what a start costs beside what reading the datastore and
// listing the IPFS node's pins do: the records and answers are in memory.
func BenchmarkFill(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newServices()
			s.fillWith(n)
			client := s.client(b)
			for b.Loop() {
				var before, after runtime.MemStats
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				backend := New(client, Options{Self: me})
				ready(b, backend)
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				if got := backend.view.Count(pinsvc.SetOf(pinsvc.StatusPinned)); got != n {
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
