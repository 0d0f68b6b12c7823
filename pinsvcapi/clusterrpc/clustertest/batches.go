package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
)

// errStopping is what a change gets while the peer stops.
var errStopping = errors.New("this cluster peer is being stopped")

// settle waits until the batches that upstream collects are committed and
// their workers wait for changes. A worker that is at work when its consensus
// stops ends the process (U6 in docs/upstream-faults.md): it finds its context
// done and its queue closed at once, and takes the zero item of the queue in
// half of the cases. One that waits is woken by its context alone. No change may
// come meanwhile.
func settle(ctx context.Context, consensus ipfscluster.Consensus, batchAge time.Duration) {
	upstream, is := consensus.(*crdt.Consensus)
	if !is {
		return
	}
	for waited := false; ; {
		// A timer that is armed now has fired after the age of a batch.
		idle := workerWaits(upstream)
		if idle && waited {
			return
		}
		waited = idle
		if pass(ctx, batchAge+batchAge/2) != nil {
			return
		}
	}
}

// workerWaits tells whether the goroutine of this consensus' batchWorker is
// parked in its own select. Nothing but its stack tells: upstream gives no signal.
func workerWaits(upstream *crdt.Consensus) bool {
	worker := fmt.Appendf(nil, "crdt.(*Consensus).batchWorker(%p", upstream)
	for stack := range bytes.SplitSeq(stacks(), []byte("\n\n")) {
		if !bytes.Contains(stack, worker) {
			continue
		}
		lines := bytes.SplitN(stack, []byte("\n"), 3)
		return len(lines) == 3 && bytes.Contains(lines[0], []byte("[select")) && bytes.Contains(lines[1], worker)
	}
	return true // It has ended, or was never started.
}

// stacks is what every goroutine of the process is doing.
func stacks() []byte {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return buf[:n]
		}
	}
}
