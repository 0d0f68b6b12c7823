package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// Right after a peer shows what another one did, its power fails: pins, renames and removals are
// there after a restart without the other.
func TestCommittedCRDT_WhatWasReceivedSurvivesAPowerLoss(t *testing.T) {
	writer := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{})
	disk := vfs.NewCrashableMem()
	reader := startReplica(t, openPebble(t, disk), groupcommit.Config{}, writer)
	writeVersions(t, writer, disk, 16, func(i int, want []string) {
		if i%2 == 0 {
			awaitNames(t, reader, want...)
			return
		}
		await.Success(t, "the list", func() error { // As lists show it.
			if got, all := reader.pins(t), writer.pins(t); got != all {
				return fmt.Errorf("it is\n%s\nnot\n%s", got, all)
			}
			return nil
		})
	}).restart(t, groupcommit.Config{})
}

// BenchmarkMerge measures how fast a peer merges what it has missed, from the first change to the last,
// while each is read as the API and the tracker do: with the sync that a reader waits for, and without;
// and from a peer that does not speak this program's protocol, where Bitswap gets each block (U96).
func BenchmarkMerge(b *testing.B) {
	for callers, pins := range map[int]int{1: 500, 64: 10_000} {
		writer := startReplica(b, openPebbleIn(b, b.TempDir(), vfs.Default), groupcommit.Config{})
		var next atomic.Int64
		var filling sync.WaitGroup
		for range callers {
			filling.Go(func() {
				for n := next.Add(1); n <= int64(pins); n = next.Add(1) {
					noError(b, writer.LogPin(context.Background(), testPin(int(n), fmt.Sprint(n))))
				}
			})
		}
		filling.Wait()
		for _, way := range []string{"merged", "synced", "bitswap"} {
			if way == "bitswap" {
				noError(b, writer.blocks.Close(b.Context()))
			}
			b.Run(fmt.Sprintf("callers=%d/%s", callers, way), func(b *testing.B) {
				for range b.N {
					b.StopTimer()
					merger := startReplica(b, openPebbleIn(b, b.TempDir(), vfs.Default), groupcommit.Config{})
					var st state.ReadOnly = merger.opened.Load().state
					if way != "merged" {
						var err error
						st, err = merger.State(b.Context())
						noError(b, err)
					}
					noError(b, merger.host.Connect(b.Context(), addrInfo(writer)))
					readMerged(b, merger, st, 0, 1)
					b.StartTimer()
					readMerged(b, merger, st, 1, pins)
					b.StopTimer()
					merger.stop(b)
					b.StartTimer()
				}
				b.ReportMetric(float64(pins-1)*float64(b.N)/b.Elapsed().Seconds(), "pins/s")
			})
		}
	}
}

// readMerged reads each of the pins that a peer merges, from the one with that number on.
func readMerged(b *testing.B, merger *replica, st state.ReadOnly, read, pins int) {
	for read < pins {
		var calls []string
		await.True(b, "another change", func() bool {
			calls = merger.calls.since(read)
			return len(calls) > 0
		})
		for _, call := range calls[:min(len(calls), pins-read)] {
			var n int
			_, err := fmt.Sscanf(call, "track %d", &n)
			noError(b, err)
			if _, err := st.Get(b.Context(), testCID(n)); err != nil && !errors.Is(err, state.ErrNotFound) {
				b.Fatal(err)
			}
			read++
		}
	}
}
