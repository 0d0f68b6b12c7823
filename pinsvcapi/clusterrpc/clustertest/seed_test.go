package clustertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/multiformats/go-multihash"
)

func seedRecord(t *testing.T, i int) api.Pin {
	hash, err := multihash.Sum(binary.AppendUvarint(nil, uint64(i)), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	rec := api.PinWithOpts(api.NewCid(cid.NewCidV1(cid.Raw, hash)), api.PinOptions{
		Name: fmt.Sprint(i), ReplicationFactorMin: -1, ReplicationFactorMax: -1, Metadata: map[string]string{"n": fmt.Sprint(i)},
	})
	rec.Timestamp = time.Unix(1_700_000_000+int64(i), 0)
	return rec
}

// accept writes the records through the CRDT, as a peer that accepts them.
func accept(ctx context.Context, t *testing.T, store datastore.Batching, n int) {
	state, closeReplica, err := openOffline(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		err := state.Add(ctx, seedRecord(t, i))
		if err == nil && (i+1)%seedCommit == 0 {
			err = state.Commit(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(state.Commit(ctx), closeReplica()); err != nil {
		t.Fatal(err)
	}
}

func contents(ctx context.Context, t *testing.T, store datastore.Datastore) map[string][]byte {
	results, err := store.Query(ctx, query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := results.Rest()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for _, e := range entries {
		all[e.Key] = e.Value
	}
	return all
}

// A seeded datastore differs in no key and no value from one whose CRDT wrote the records.
func TestSeed_WritesWhatTheCRDTWrites(t *testing.T) {
	ctx := t.Context()
	for _, n := range []int{0, 1, seedCommit, 2*seedCommit + 10} {
		seeded, accepted := dssync.MutexWrap(datastore.NewMapDatastore()), dssync.MutexWrap(datastore.NewMapDatastore())
		if err := Seed(ctx, seeded, n, func(i int) api.Pin { return seedRecord(t, i) }); err != nil {
			t.Fatal(err)
		}
		accept(ctx, t, accepted, n)
		got, want := contents(ctx, t, seeded), contents(ctx, t, accepted)
		if !maps.EqualFunc(got, want, bytes.Equal) {
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if value, ok := got[key]; !ok || !bytes.Equal(value, want[key]) {
					t.Fatalf("%d records: %s is %x (%t), want %x", n, key, value, ok, want[key])
				}
			}
			t.Fatalf("%d records: %d keys, want %d", n, len(got), len(want))
		}
		if err := Read(ctx, seeded, n); err != nil {
			t.Error(err)
		}
	}
}
