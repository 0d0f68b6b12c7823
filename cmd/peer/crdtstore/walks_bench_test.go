package crdtstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// BenchmarkStart_AfterAKill is what a start costs at 100,000 pins, each a change of its own,
// on the disk: where nothing was being walked, and where one branch has to be repaired.
func BenchmarkStart_AfterAKill(b *testing.B) {
	const pins = 100_000
	folder := b.TempDir()
	pebble, err := pebbleds.NewDatastore(folder)
	noError(b, err)
	b.Cleanup(func() { _ = pebble.Close() })
	on := func() *disk { return &disk{Batching: pebble, left: -1, atomic: true} }
	source := start(b, newDisk(), false)
	noError(b, source.put("missing", "value"))
	noError(b, source.put("missed", "value")) // It stands on the other one.
	r := start(b, on(), false)
	value := make([]byte, 200)
	for i := range pins {
		noError(b, r.put(fmt.Sprint("key", i), string(value)))
	}
	for _, branches := range []int{0, 1} {
		all := b // A replica is stopped at the end of its benchmark.
		b.Run(fmt.Sprintf("branches=%d", branches), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if branches > 0 {
					// As if the process had been killed between two blocks of a walk.
					r.disk.killAfter(4)
					r.reach(source)
					r.hear(source.heads())
					r.hear(nil)
				}
				r.stop()
				b.StartTimer()
				began := time.Now()
				r = start(all, on(), false)
				b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "start-ms")
				r.reach(source)
				await.Success(b, "it is clean", func() error {
					if r.crdt.IsDirty(b.Context()) {
						return fmt.Errorf("dirty")
					}
					return nil
				})
				b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "clean-ms")
			}
			if ok, err := r.crdt.Has(b.Context(), datastore.NewKey("missing")); branches > 0 && (err != nil || !ok) {
				b.Errorf("the branch was not repaired: %v", err)
			}
		})
	}
}
