package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/commitstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// overtaken is a datastore in which the only head that the next commit of its peer links to is replaced
// before that comes to its own head, which then cannot be written: go-ds-crdt only logs that (U102).
type overtaken struct {
	datastore.Batching
	// during, if not nil, is called by one commit of the peer at each of its blocks, with the count.
	during func(block int)
	blocks int
	// theirs has a value when a head of another peer was written.
	theirs chan struct{}
	fails  bool // the next head of the peer
}

func (o *overtaken) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := o.Batching.Batch(ctx)
	return &overtakenBatch{Batch: b, store: o}, err
}

type overtakenBatch struct {
	datastore.Batch
	store       *overtaken
	head, block bool
}

func (b *overtakenBatch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	b.head = b.head || strings.HasPrefix(key.String(), "/c/h/")
	b.block = b.block || strings.HasPrefix(key.String(), "/c/b/blocks/")
	return b.Batch.Put(ctx, key, value)
}

func (b *overtakenBatch) Commit(ctx context.Context) error {
	own := commitstore.Watched(ctx)
	switch {
	case own && b.block && b.store.during != nil:
		b.store.blocks++
		b.store.during(b.store.blocks)
	case own && b.head && b.store.fails:
		b.store.fails = false
		return errDied
	case !own && b.head:
		defer func() {
			select {
			case b.store.theirs <- struct{}{}:
			default:
			}
		}()
	}
	return b.Batch.Commit(ctx)
}

// overtakenPeers starts two peers of which the first is to make one commit, which others are told of
// although its head is not written. At its second try, again is called.
func overtakenPeers(t *testing.T, again func(b *replica)) (store *overtaken, a, b *replica) {
	t.Helper()
	store = &overtaken{Batching: dssync.MutexWrap(datastore.NewMapDatastore()), theirs: make(chan struct{}, 1)}
	a = startReplica(t, store, groupcommit.Config{RetryMin: 10 * time.Millisecond, RetryMax: 10 * time.Millisecond})
	b = startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
	noError(t, a.LogPin(t.Context(), testPin(0, "at a")))
	awaitNames(t, b, "at a")
	store.during = func(block int) {
		switch block {
		case 1:
			noError(t, b.LogPin(context.Background(), testPin(1, "at b")))
			<-store.theirs
			store.fails = true
		case 2:
			again(b)
			store.during = nil
		}
	}
	return store, a, b
}

// A commit fails, and the other peer has it all the same, and deletes its pin. What is tried again does
// not undo that.
func TestCommittedCRDT_ACommitThatOthersWereToldOfIsNotMadeAgain(t *testing.T) {
	_, a, b := overtakenPeers(t, func(b *replica) {
		await.Success(t, "b has the pin", func() error {
			if b.name(t, testCID(2)) != "pin" {
				return errors.New("not yet")
			}
			return nil
		})
		noError(t, b.LogUnpin(context.Background(), testPin(2, "")))
	})
	if err := a.LogPin(t.Context(), testPin(2, "pin")); !errors.Is(err, groupcommit.ErrUncertain) {
		t.Errorf("the commit did not fail: %v", err)
	}
	afterRetries(t, a, b)
	if na, nb := a.name(t, testCID(2)), b.name(t, testCID(2)); na != "" || nb != "" {
		t.Errorf("the deleted pin is %q at a, %q at b", na, nb)
	}
}

// The block of a removal that failed so is below the heads of its peer: one that has all from there has
// the removal.
func TestCommittedCRDT_ARemovalThatOthersWereToldOfIsCommitted(t *testing.T) {
	_, a, b := overtakenPeers(t, func(*replica) {})
	if err := a.LogUnpin(t.Context(), testPin(0, "")); !errors.Is(err, groupcommit.ErrUncertain) {
		t.Errorf("the commit did not fail: %v", err)
	}
	await.Success(t, "it has the change of b", func() error {
		if a.name(t, testCID(1)) != "at b" {
			return errors.New("not yet")
		}
		return nil
	})
	b.stop(t)
	noError(t, b.host.Close())
	await.Success(t, "writes", func() error { return a.LogPin(t.Context(), testPin(9, "last")) })
	c := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
	await.Success(t, "the last", func() error {
		if got := c.name(t, testCID(9)); got != "last" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	agree(t, a, c)
	if na, nc := a.name(t, testCID(0)), c.name(t, testCID(0)); na != "" || nc != "" {
		t.Errorf("the deleted pin is %q at a, %q at c", na, nc)
	}
}
