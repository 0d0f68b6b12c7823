package peer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// Two peers write and delete the same pins all the time, so that each commits while it walks what the
// other wrote. When they stop they agree, and no comparison of pinsets is needed for it.
func TestCommittedCRDT_PeersThatWriteTheSamePinsAgree(t *testing.T) {
	a := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{})
	b := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
	noError(t, a.LogPin(t.Context(), testPin(0, "first")))
	agree(t, a, b)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var writers sync.WaitGroup
	for i, r := range []*replica{a, b} {
		for w := range 3 {
			writers.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					pin := testPin(rand.IntN(12), fmt.Sprint(i, " ", w, " ", n))
					if rand.IntN(3) == 0 {
						_ = r.LogUnpin(ctx, pin) // It may wait for the other's blocks until the end.
					} else {
						_ = r.LogPin(ctx, pin)
					}
					time.Sleep(time.Duration(rand.IntN(6)) * time.Millisecond) // Blocks are to come in between.
				}
			})
		}
	}
	writers.Wait()
	agree(t, a, b)
}
