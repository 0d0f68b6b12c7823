package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// foreignBlock is a block of another peer, with an element of pin 0. Its ID is a great one, so that the
// element is the last of its key that is removed.
func foreignBlock(t *testing.T) (id string, data []byte) {
	t.Helper()
	inner := dssync.MutexWrap(datastore.NewMapDatastore())
	src := startReplica(t, inner, groupcommit.Config{})
	for n := range 40 {
		noError(t, src.LogPin(t.Context(), testPin(0, fmt.Sprint("theirs ", n))))
	}
	results, err := inner.Query(t.Context(), query.Query{Prefix: "/c/b/blocks"})
	noError(t, err)
	entries, err := results.Rest()
	noError(t, err)
	for _, e := range entries {
		links, err := crdtstore.Links(e.Value)
		noError(t, err)
		if name := strings.TrimPrefix(e.Key, "/c/b/blocks/"); len(links) > 0 && name > id { // Higher than the first one.
			id, data = name, e.Value
		}
	}
	return id, data
}

// wantBlock asks a peer for a block over Bitswap, which that does not have, and remembers so.
func wantBlock(t *testing.T, from *replica, id string) {
	t.Helper()
	asking := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{})
	c, err := dshelp.DsKeyToCidV1(datastore.NewKey(id), cid.DagProtobuf)
	noError(t, err)
	network := bsnet.NewFromIpfsHost(asking.host)
	kept := blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	exchange := bitswap.New(t.Context(), network, nil, kept)
	defer func() { noError(t, exchange.Close()) }()
	noError(t, asking.host.Connect(t.Context(), addrInfo(from)))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // Nobody has it.
	defer cancel()
	if _, err := exchange.GetBlock(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a block that nobody has: %v", err)
	}
}

// adopt has a peer take over an element of another one.
func adopt(t *testing.T, r *replica, key, id string, data []byte) {
	t.Helper()
	noError(t, r.kept.Keep(t.Context(), key, id, data))
	noError(t, r.kept.Repair(t.Context(), key, nil, []string{id}))
}

// A peer adopts a block in a repair, whether or not it was asked before for what it did not have then. It
// reads the block from its disk when the pin is deleted, and serves it (U100).
func TestCommittedCRDT_AnAdoptedBlockIsReadFromTheDisk(t *testing.T) {
	key := dshelp.NewKeyFromBinary(testCID(0).Bytes()).String()[1:]
	id, data := foreignBlock(t)
	for _, asked := range []bool{false, true} {
		t.Run(fmt.Sprint("asked before: ", asked), func(t *testing.T) {
			a := startReplica(t, openPebble(t, vfs.NewMem()), groupcommit.Config{})
			b := startReplica(t, openPebble(t, vfs.NewMem()), groupcommit.Config{}, a)
			noError(t, a.LogPin(t.Context(), testPin(0, "at a")))
			awaitNames(t, b, "at a")
			if asked {
				wantBlock(t, a, id)
			}
			adopt(t, a, key, id, data)
			if got := a.name(t, testCID(0)); !strings.HasPrefix(got, "theirs") {
				t.Errorf("the pin is %q", got)
			}
			if got, ok := b.blocks.Get(t.Context(), id); !ok || !bytes.Equal(got, data) {
				t.Errorf("a does not serve the block: %t", ok)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			noError(t, a.LogUnpin(ctx, testPin(0, "")))
			noError(t, a.LogPin(ctx, testPin(7, "another")))
			if got := a.name(t, testCID(0)); got != "" {
				t.Errorf("the deleted pin is %q", got)
			}
		})
	}
}

// The block of an element is lost. Its pin can be removed, at once; and what removes another element of
// the pin does not take the value of that which is lost with it (U100).
func TestCommittedCRDT_ALostBlockStopsNoCommit(t *testing.T) {
	key := dshelp.NewKeyFromBinary(testCID(0).Bytes()).String()[1:]
	id, data := foreignBlock(t)
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	a := startReplica(t, store, groupcommit.Config{})
	b := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
	noError(t, a.LogPin(t.Context(), testPin(0, "at a")))
	awaitNames(t, b, "at a")
	adopt(t, a, key, id, data)
	theirs := a.name(t, testCID(0))
	noError(t, store.Delete(t.Context(), datastore.NewKey("/c/b/blocks/"+id)))
	noError(t, b.LogUnpin(t.Context(), testPin(0, ""))) // It knows of its own element only.
	noError(t, b.LogPin(t.Context(), testPin(1, "next")))
	awaitNames(t, a, theirs, "next")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	noError(t, a.LogUnpin(ctx, testPin(0, "")))
	noError(t, a.LogPin(ctx, testPin(7, "another")))
	awaitNames(t, a, "", "next")
	agree(t, a, b)
}
