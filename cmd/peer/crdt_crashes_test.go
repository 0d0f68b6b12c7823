package peer

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// crash is what a disk has when the power fails, and the names that its peer has answered or shown.
type crash struct {
	disk *vfs.MemFS
	want []string // by the number of the pin, "" without one
}

type crashes []crash

// writeVersions writes four pins in turns, and removes every fifth time. After each write, and what
// then does with the number of the write and the names that there are, the power of the disk fails.
func writeVersions(t *testing.T, writer *replica, disk *vfs.MemFS, writes int, then func(i int, want []string)) (c crashes) {
	t.Helper()
	want := make([]string, 4)
	for i := range writes {
		n := i % len(want)
		if want[n] = fmt.Sprint("version ", i); i%5 == 4 {
			want[n] = ""
			noError(t, writer.LogUnpin(t.Context(), testPin(n, "")))
		} else {
			noError(t, writer.LogPin(t.Context(), testPin(n, want[n])))
		}
		then(i, want)
		c = append(c, crash{disk.CrashClone(vfs.CrashCloneCfg{}), slices.Clone(want)})
	}
	return c
}

// restart starts a peer on each of the disks, alone, and compares its state.
func (c crashes) restart(t *testing.T, commits groupcommit.Config) {
	t.Helper()
	for i, crash := range c {
		restarted := startReplica(t, openPebble(t, crash.disk), commits)
		for n, name := range crash.want {
			if got := restarted.name(t, testCID(n)); got != name {
				t.Errorf("crash %d: pin %d is %q, before it was %q", i, n, got, name)
			}
		}
		restarted.stop(t)
	}
}

// A peer is stopped before anything was asked of its state. What is asked after that starts nothing, which
// would never end.
func TestCommittedCRDT_NothingIsOpenedAfterItsShutdown(t *testing.T) {
	r := setUpReplica(t, openPebble(t, vfs.NewMem()), groupcommit.Config{})
	_, err := r.Consensus.State(t.Context()) // It is set up.
	noError(t, err)
	r.stop(t)
	for range 100 {
		if _, err := r.State(t.Context()); !errors.Is(err, groupcommit.ErrClosed) {
			t.Fatalf("the state after the shutdown: %v", err)
		}
	}
}
