package crdtstore

import (
	"fmt"
	"testing"

	"github.com/ipfs/go-datastore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// deleteOwn is a delete as this peer's commits make it.
func (r *replica) deleteOwn(key string) error {
	return r.crdt.Delete(Own(r.t.Context()), datastore.NewKey(key))
}

// stalled is a replica whose walk of another's branch has come to the newer value of a key, and
// gets no more blocks.
func stalled(t *testing.T) (source, r *replica) {
	t.Helper()
	source = start(t, newDisk(), false)
	for i, key := range []string{"key", "only old"} {
		noError(t, source.put(key, "old"))
		noError(t, source.put(fmt.Sprint("filler", i), "value"))
	}
	for i := range 20 {
		noError(t, source.put(fmt.Sprint("older", i), "value"))
	}
	noError(t, source.put("key", "new"))
	for i := range 3 {
		noError(t, source.put(fmt.Sprint("newer", i), "value"))
	}
	r = start(t, newDisk(), false)
	noError(t, r.put("own", "value"))
	r.network.limit(8)
	catchUp(t, r, source)
	if got := r.values(); got["/key"] != "new" || got["/only old"] != "" || r.store.Unfinished() == 0 {
		t.Fatalf("it has %v, and %d branches", got, r.store.Unfinished())
	}
	return source, r
}

// goOn lets the walk end.
func goOn(t *testing.T, r, source *replica) {
	t.Helper()
	r.network.limit(-1)
	await.Success(t, "the walk ends", func() error {
		r.hear(source.heads())
		if n := r.store.Unfinished(); n > 0 || r.values()["/only old"] == "" {
			return fmt.Errorf("%d branches", n)
		}
		return nil
	})
}

// A peer deleted a pin while it walked a branch that got no blocks any more, and older values of
// that branch brought the pin back (U51).
func TestEarlyDelete_IsNotUndoneByWhatTheWalkBrings(t *testing.T) {
	for name, restart := range map[string]bool{"runs on": false, "is killed": true} {
		t.Run(name, func(t *testing.T) {
			a, b := stalled(t)
			noError(t, b.deleteOwn("key"))
			if restart {
				b = b.restart()
				b.reach(a)
			}
			goOn(t, b, a)
			if got, ok := b.values()["/key"]; ok {
				t.Errorf("the key is back: %q", got)
			}
			b.mu.Lock()
			told, ok := b.told["key"]
			b.mu.Unlock()
			if ok {
				t.Errorf("told is %q", told)
			}
			// Others can see that both elements are removed.
			members, err := b.store.Members(t.Context(), "key")
			noError(t, err)
			if len(members.Live) != 0 || len(members.Tombs) != 2 {
				t.Errorf("the key has %+v", members)
			}
			await.Success(t, "no mark is left", func() error {
				if marks := b.disk.marks(t); len(marks) > 0 {
					return fmt.Errorf("%q", marks)
				}
				return nil
			})
		})
	}
}

// What is added after the delete, or was announced after it, stays.
func TestEarlyDelete_LaterAdditionsStay(t *testing.T) {
	for name, heard := range map[string]bool{"after the delete was heard of": true, "at once": false} {
		t.Run(name, func(t *testing.T) {
			a, b := stalled(t)
			noError(t, b.deleteOwn("key"))
			if heard {
				a.reach(b)
				a.hear(b.heads())
			}
			noError(t, a.put("key", "again"))
			for i := range 3 {
				noError(t, a.put(fmt.Sprint("last", i), "value"))
			}
			goOn(t, b, a)
			await.Success(t, "it has what came last", func() error {
				b.hear(a.heads())
				if b.values()["/last2"] == "" {
					return fmt.Errorf("%v", b.values())
				}
				return nil
			})
			if got := b.values()["/key"]; got != "again" {
				t.Errorf("the key has %q", got)
			}
		})
	}
}

// A delete without a walk, one of another peer, and one that nothing was held back for leave no mark.
func TestEarlyDelete_OthersAreNone(t *testing.T) {
	a, b := stalled(t)
	noError(t, a.deleteOwn("key"))
	marks := len(b.disk.marks(t))
	noError(t, b.delete("key"))
	if got := len(b.disk.marks(t)); got != marks || len(a.disk.marks(t)) > 0 {
		t.Errorf("%d marks, and %d", got-marks, len(a.disk.marks(t)))
	}
}

// A rewrite, which is a removal and an addition in one commit, leaves no mark: the pin stays, and an
// element that the walk brings can be the one that the others show.
func TestEarlyDelete_ARewriteLeavesNoMark(t *testing.T) {
	_, b := stalled(t)
	marks := len(b.disk.marks(t))
	batch, err := b.crdt.Batch(t.Context())
	noError(t, err)
	ctx := Own(t.Context())
	noError(t, batch.Delete(ctx, datastore.NewKey("key")))
	noError(t, batch.Put(ctx, datastore.NewKey("key"), []byte("rewritten")))
	noError(t, batch.Commit(ctx))
	if got := len(b.disk.marks(t)); got != marks {
		t.Errorf("%d marks: %q", got-marks, b.disk.marks(t))
	}
}
