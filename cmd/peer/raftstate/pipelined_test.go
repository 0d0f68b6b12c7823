//go:build !race || nocheckptr

// Raft keeps its log in github.com/boltdb/bolt, whose pointer arithmetic the race detector takes
// for a fault; see cmd/peer/raft_test.go.

package raftstate

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// logCommits is how many transactions of its log a member has committed so far. Bolt syncs each, and counts them in the
// newer of its two meta pages.
func (m *member) logCommits() uint64 {
	m.t.Helper()
	const header, txid, magic = 16, 64, 0xED0CDAED // of a page
	file, err := os.Open(filepath.Join(m.folder, "raft.db"))
	noError(m.t, err)
	defer file.Close()
	newest := uint64(0)
	for page := range int64(2) {
		meta := make([]byte, txid+8)
		_, err := file.ReadAt(meta, page*int64(os.Getpagesize()))
		noError(m.t, err)
		if got := binary.NativeEndian.Uint32(meta[header:]); got != magic {
			m.t.Fatalf("meta page %d begins with %x", page, got)
		}
		newest = max(newest, binary.NativeEndian.Uint64(meta[txid:]))
	}
	return newest
}

// concurrently pins n contents by as many clients of the members, and returns what was asked for, how many are answered,
// and what waits for all.
func concurrently(t *testing.T, at []*member, from, n int) (asked map[api.Cid]api.Pin, answered *atomic.Int32, wait func()) {
	asked, answered = make(map[api.Cid]api.Pin, n), new(atomic.Int32)
	var clients sync.WaitGroup
	for i := range n {
		pin := api.PinCid(cidOf(from + i))
		pin.Name, pin.Timestamp = fmt.Sprint("pin ", from+i), time.Now()
		asked[pin.Cid] = pin
		clients.Go(func() {
			if err := at[i%len(at)].consensus.LogPin(t.Context(), pin); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		})
	}
	return asked, answered, clients.Wait
}

// Concurrent writes are pipelined: none waits for the commit of another, and those that come during one sync of the log
// share the next.
func TestConsensus_ConcurrentWritesArePipelined(t *testing.T) {
	t.Parallel()
	const clients = 64
	all := members(t, 3, 0, nil)
	lead := leader(t, all)
	others := without(all, lead)

	// The leader applies nothing and so answers nothing. All the same it has the log, and the others the effects, of all.
	lead.disk.full.Store(true)
	asked, answered, wait := concurrently(t, []*member{lead}, 0, clients)
	for _, m := range others {
		await.Success(t, "all are committed", func() error { return m.expect(asked) })
	}
	if n := answered.Load(); n != 0 {
		t.Errorf("%d writes were answered before they were applied", n)
	}
	lead.disk.full.Store(false)
	wait()
	await.Success(t, "all are applied", func() error { return lead.expect(asked) })

	// How many syncs that takes.
	const rounds = 8
	commits := lead.logCommits()
	for round := range rounds {
		_, _, wait := concurrently(t, []*member{lead}, (1+round)*clients, clients)
		wait()
	}
	commits = lead.logCommits() - commits
	t.Logf("%d syncs of the leader's log for %d writes by %d clients", commits, rounds*clients, clients)
	if most := uint64(rounds * clients / 3); commits == 0 || commits > most {
		t.Errorf("%d syncs of the leader's log for %d writes, want at most %d", commits, rounds*clients, most)
	}
	alone := lead.logCommits()
	const one = 8
	for n := range one {
		_, _, wait := concurrently(t, []*member{lead}, (1+rounds)*clients+n, 1)
		wait()
	}
	if alone = lead.logCommits() - alone; alone < one {
		t.Errorf("%d syncs for %d writes one after the other: they are counted wrongly", alone, one)
	}
}
