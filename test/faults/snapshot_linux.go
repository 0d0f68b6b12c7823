package faults

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// snapshotTimeout bounds how long peers may take to make snapshots, and one to be given one.
const snapshotTimeout = time.Minute

// installedSnapshot is what a Raft peer writes when it has got a snapshot of the leader.
const installedSnapshot = "a snapshot of the leader was installed"

// installSnapshot keeps a Raft peer away until the others have no more the entries that it misses,
// and waits until it has got a snapshot instead. No client sends requests.
func (r *runner) installSnapshot(ctx context.Context, n *node) error {
	return r.exclusive(n, func() error {
		before, err := n.installed()
		if err != nil {
			return err
		}
		if err := n.kill(); err != nil {
			return err
		}
		if err := r.writeUntilSnapshots(ctx, n); err != nil {
			return err
		}
		if err := n.start(); err != nil {
			return err
		}
		return eventually(ctx, snapshotTimeout, func() error {
			now, err := n.installed()
			if err == nil && now == before {
				err = fmt.Errorf("%s has got no snapshot from the leader", n.name)
			}
			return err
		})
	})
}

// writeUntilSnapshots sends writes until each other peer has made two snapshots. The first may be
// from before much was written; from it to the second are more entries than are kept beside a snapshot.
func (r *runner) writeUntilSnapshots(ctx context.Context, away *node) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	made := map[*node]map[string]bool{}
	for _, n := range r.nodes {
		if n == away {
			continue
		}
		old, err := n.snapshots()
		if err != nil {
			return err
		}
		made[n] = map[string]bool{}
		for _, name := range old {
			made[n][name] = false
		}
	}
	rng := rand.New(rand.NewPCG(r.opts.Seed, snapshotWrites))
	for missing := true; missing; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("the peers made no snapshots: %w", err)
		}
		r.writeSome(ctx, rng, away)
		missing = false
		for n, names := range made {
			now, err := n.snapshots()
			if err != nil {
				return err
			}
			for _, name := range now {
				if _, old := names[name]; !old {
					names[name] = true
				}
			}
			missing = missing || count(names) < 2
		}
	}
	return nil
}

func count(set map[string]bool) (n int) {
	for _, in := range set {
		if in {
			n++
		}
	}
	return n
}

// snapshotWrites is the stream of the seed for these writes. Those of the clients are as without them.
const snapshotWrites = 1 << 32

// writeSome adds a key of each client whose home is there.
func (r *runner) writeSome(ctx context.Context, rng *rand.Rand, away *node) {
	for _, c := range r.workload.clients {
		writer := *c
		writer.rng = rng
		if k := c.keys[rng.IntN(len(c.keys))]; k.home != away.index && ctx.Err() == nil {
			writer.add(ctx, k)
			time.Sleep(writer.retryAfter) // As clients do.
		}
		c.writes = writer.writes
	}
}

// snapshots are the names of the peer's own and installed snapshots.
func (n *node) snapshots() (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(n.dir, "raft", "snapshots"))
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".tmp") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// installed is how many snapshots of a leader the peer has got.
func (n *node) installed() (int, error) {
	raw, err := os.ReadFile(n.logFile)
	return bytes.Count(raw, []byte(installedSnapshot)), err
}
