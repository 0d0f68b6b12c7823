package peer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/commitstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// A peer deleted the record that another one had superseded meanwhile. When the two met again, the
// other unpinned its content, which it may have been the only one to have, and pinned it again half a
// second later (U13).
func TestCommittedCRDT_ARemovalOfAnOlderRecordUnpinsNothing(t *testing.T) {
	a := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{})
	b := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
	for n := range 3 {
		noError(t, a.LogPin(t.Context(), testPin(n, "old")))
	}
	agree(t, a, b)
	noError(t, a.host.Network().ClosePeer(b.host.ID()))

	noError(t, a.LogPin(t.Context(), testPin(0, "new")))
	noError(t, a.LogUnpin(t.Context(), testPin(1, "old")))
	noError(t, a.LogPin(t.Context(), testPin(1, "again")))
	before := len(a.calls.since(0))
	for n := range 3 {
		noError(t, b.LogUnpin(t.Context(), testPin(n, "old")))
	}
	noError(t, b.LogPin(t.Context(), testPin(3, "last")))
	noError(t, a.host.Connect(t.Context(), addrInfo(b)))
	agree(t, a, b)
	if got, want := a.pins(t), fmt.Sprintf("%s=again", testCID(1)); !slices.Contains(strings.Split(got, "\n"), want) {
		t.Errorf("the state is\n%s", got)
	}
	await.True(t, "the tracker is told of what is gone, after the state", func() bool {
		return slices.Contains(a.calls.since(before), "untrack")
	})
	calls := a.calls.since(before)
	slices.Sort(calls)
	if want := []string{"track last", "untrack"}; !slices.Equal(calls, want) {
		t.Errorf("the tracker was called with %q, want %q: only the third pin is gone", calls, want)
	}
}

// What is left of a pin whose removal the CRDT tells of.
func TestCommittedCRDT_Left(t *testing.T) {
	r := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{})
	pin := testPin(0, "name")
	if rec, gone := r.left(t.Context(), pin.Cid); rec != nil || !gone {
		t.Errorf("of a pin that never was: %+v, %v", rec, gone)
	}
	noError(t, r.LogPin(t.Context(), pin))
	if rec, gone := r.left(t.Context(), pin.Cid); gone || rec == nil || rec.Name != "name" || rec.Cid != pin.Cid {
		t.Errorf("of a pin: %+v, %v", rec, gone)
	}
	noError(t, r.LogUnpin(t.Context(), pin))
	if rec, gone := r.left(t.Context(), pin.Cid); rec != nil || !gone {
		t.Errorf("of one that was removed: %+v, %v", rec, gone)
	}
}

// A block that is being merged replaces a record. What is left beside that is told all the same: what the block adds
// may have been removed by a newer one, which came first.
func TestCommittedCRDT_LeftBesideABlockThatIsMerged(t *testing.T) {
	inner := dssync.MutexWrap(datastore.NewMapDatastore())
	src, r := startReplica(t, inner, groupcommit.Config{}), startMapReplica(t)
	noError(t, src.LogPin(t.Context(), testPin(0, "old")))
	ctx, _ := commitstore.Watch(t.Context())
	st := src.opened.Load().state
	noError(t, errors.Join(st.Rm(ctx, testCID(0)), st.Add(ctx, testPin(0, "new")), st.Commit(ctx)))
	results, err := inner.Query(t.Context(), query.Query{Prefix: "/c/b/blocks"})
	noError(t, err)
	entries, err := results.Rest()
	noError(t, err)
	for _, e := range entries {
		if links, err := crdtstore.Links(e.Value); err != nil || len(links) > 0 {
			noError(t, errors.Join(err, r.kept.Put(t.Context(), datastore.NewKey(e.Key), e.Value)))
		}
	}
	if rec, gone := r.left(t.Context(), testCID(0)); rec != nil || gone {
		t.Errorf("of a pin that is about to be added: %+v, %v", rec, gone)
	}
	noError(t, r.LogPin(t.Context(), testPin(0, "beside")))
	if rec, gone := r.left(t.Context(), testCID(0)); rec == nil || rec.Name != "beside" || gone {
		t.Errorf("of one that has another record: %+v, %v", rec, gone)
	}
}

// A change that the state would ignore is made in the form of a removal of all that is there and the new
// record. Every peer merges first the one, then the other: none unpins the content in between (U13).
func TestCommittedCRDT_APinThatIsMadeAnewIsUnpinnedNowhere(t *testing.T) {
	a := startMapReplica(t)
	b := startMapReplica(t, a)
	noError(t, a.LogPin(t.Context(), testPin(0, "old")))
	agree(t, a, b)
	beforeA, beforeB := len(a.calls.since(0)), len(b.calls.since(0))
	ctx, _ := commitstore.Watch(t.Context())
	st := a.opened.Load().state
	noError(t, errors.Join(st.Rm(ctx, testCID(0)), st.Add(ctx, testPin(0, "new")), st.Commit(ctx)))
	awaitNames(t, b, "new")
	for name, calls := range map[string][]string{"its own peer": a.calls.since(beforeA), "the other one": b.calls.since(beforeB)} {
		if want := []string{"track new"}; !slices.Equal(calls, want) {
			t.Errorf("the tracker of %s was called with %q, want %q", name, calls, want)
		}
	}
	noError(t, a.LogUnpin(t.Context(), testPin(0, "")))
	awaitNames(t, b, "")
	await.Success(t, "the removal", func() error {
		if calls := b.calls.since(beforeB); calls[len(calls)-1] != "untrack" {
			return fmt.Errorf("%q", calls)
		}
		return nil
	})
}
