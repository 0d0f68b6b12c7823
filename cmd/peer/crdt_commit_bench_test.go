package peer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-datastore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// benchPins is how many pins the state has.
const benchPins = 20_000

// BenchmarkLogPin measures accepted pins: this project's, which are synced, and upstream's on the same
// store, which are not. Together with the time of one sync they say what a commit costs.
func BenchmarkLogPin(b *testing.B) {
	store := openPebbleIn(b, b.TempDir(), vfs.Default)
	r := startReplica(b, store, groupcommit.Config{})
	var next atomic.Int64
	var filling sync.WaitGroup
	for range 256 {
		filling.Go(func() {
			for n := next.Add(1); n <= benchPins; n = next.Add(1) {
				if err := r.LogPin(context.Background(), testPin(int(n), "filled")); err != nil {
					b.Error(err)
				}
			}
		})
	}
	filling.Wait()
	b.Run("sync", func(b *testing.B) {
		for n := range b.N {
			key := datastore.NewKey(fmt.Sprint("/bench/", n))
			noError(b, store.Put(b.Context(), key, make([]byte, 512)))
			noError(b, store.Sync(b.Context(), key))
		}
	})
	for _, callers := range []int{1, 64} {
		for _, way := range []struct {
			name string
			log  func(context.Context, api.Pin) error
		}{{"ours", r.LogPin}, {"upstream", r.Consensus.LogPin}} {
			b.Run(fmt.Sprintf("%s/callers=%d", way.name, callers), func(b *testing.B) {
				b.ReportAllocs()
				var working sync.WaitGroup
				var done atomic.Int64
				for range callers {
					working.Go(func() {
						for done.Add(1) <= int64(b.N) {
							if err := way.log(context.Background(), testPin(int(next.Add(1)), "measured")); err != nil {
								b.Error(err)
							}
						}
					})
				}
				working.Wait()
			})
		}
	}
}
