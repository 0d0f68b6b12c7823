package peer

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// startMapReplica starts one in memory.
func startMapReplica(t *testing.T, join ...*replica) *replica {
	t.Helper()
	return startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, join...)
}

// awaitAll waits until a peer has so many pins of another.
func awaitAll(t *testing.T, r *replica, pins int) {
	t.Helper()
	await.Success(t, "all pins", func() error {
		for _, n := range []int{0, pins / 2, pins - 1} {
			if r.name(t, testCID(n)) == "" {
				return fmt.Errorf("pin %d is not there", n)
			}
		}
		if n := r.kept.Unfinished(); n > 0 {
			return fmt.Errorf("%d branches", n)
		}
		return nil
	})
}

// A peer merges many changes, each a block of its own, in much less than the 20 ms that Bitswap takes
// for each (U96). A third peer then gets them from it, also by Bitswap.
func TestCommittedCRDT_ABranchIsMergedWithoutAPauseForEachBlock(t *testing.T) {
	const pins = 400
	writer := startMapReplica(t)
	for n := range pins {
		noError(t, writer.LogPin(t.Context(), testPin(n, fmt.Sprint(n))))
	}
	reader := startMapReplica(t, writer)
	await.Success(t, "the first pin", func() error {
		if len(reader.calls.since(0)) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	began := time.Now()
	awaitAll(t, reader, pins)
	if took, bitswap := time.Since(began), pins*20*time.Millisecond; took > bitswap/2 {
		t.Errorf("it took %s, where Bitswap takes %s", took, bitswap)
	}
	agree(t, writer, reader)
	writer.stop(t)
	noError(t, writer.host.Close())
	noError(t, reader.blocks.Close(t.Context()))
	noError(t, reader.LogPin(t.Context(), testPin(pins, "last")))
	third := startMapReplica(t, reader)
	awaitNames(t, third, "0", "1")
	agree(t, reader, third)
}

// A peer of ipfs-cluster-service does not speak the protocol: both get each other's changes.
func TestCommittedCRDT_APeerWithoutTheProtocol(t *testing.T) {
	other := startMapReplica(t)
	noError(t, other.blocks.Close(t.Context()))
	r := startMapReplica(t)
	for n := range 20 {
		noError(t, other.LogPin(t.Context(), testPin(n, "theirs")))
		noError(t, r.LogPin(t.Context(), testPin(100+n, "ours")))
	}
	noError(t, r.host.Connect(t.Context(), addrInfo(other)))
	agree(t, r, other)
	if other.name(t, testCID(119)) != "ours" || r.name(t, testCID(19)) != "theirs" {
		t.Error("something is missing")
	}
}
