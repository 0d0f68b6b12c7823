package crdtstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// deleteOwn is a delete as this peer's commits make it.
func (r *replica) deleteOwn(key string) error {
	return r.crdt.Delete(Own(r.t.Context(), nil), datastore.NewKey(key))
}

// rewriteOwn is a change that replaces all that is there, as this peer's commits make it.
func (r *replica) rewriteOwn(key, value string) error {
	batch, err := r.crdt.Batch(r.t.Context())
	if err != nil {
		return err
	}
	ctx := Own(r.t.Context(), nil)
	return errors.Join(batch.Delete(ctx, datastore.NewKey(key)), batch.Put(ctx, datastore.NewKey(key), []byte(value)), batch.Commit(ctx))
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
		if i == 10 {
			noError(t, source.put("key", "middle"))
			noError(t, source.put("own", "middle"))
		}
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
			// Others can see that all elements are removed.
			members, err := b.store.Members(t.Context(), "key")
			noError(t, err)
			if len(members.Live) != 0 || len(members.Tombs) != 3 {
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

// A pin was renamed during a stalled walk, and an older record in a higher block undid that when
// the walk went on, at every peer (U51).
func TestEarlyChange_IsNotUndoneByWhatTheWalkBrings(t *testing.T) {
	for name, restart := range map[string]bool{"runs on": false, "is killed": true} {
		t.Run(name, func(t *testing.T) {
			a, b := stalled(t)
			noError(t, b.rewriteOwn("key", "changed")) // A plain addition counts less than what there is.
			noError(t, b.crdt.Put(Own(t.Context(), nil), datastore.NewKey("own"), []byte("changed")))
			if got := b.values(); got["/key"] != "changed" || got["/own"] != "changed" {
				t.Fatalf("it has %v", got)
			}
			if restart {
				b = b.restart()
				b.reach(a)
			}
			goOn(t, b, a)
			if got := b.values(); got["/key"] != "changed" || got["/own"] != "changed" {
				t.Errorf("the keys have %q and %q", got["/key"], got["/own"])
			}
			// What others make of the elements and tombs that this peer tells them of.
			a.reach(b)
			for _, key := range []string{"key", "own"} {
				theirs, err := b.store.Members(t.Context(), key)
				noError(t, err)
				await.Success(t, "it has what came last", func() error {
					a.hear(b.heads())
					noError(t, a.store.Repair(t.Context(), key, theirs.Tombs, nil))
					if got := a.values()["/"+key]; got != "changed" {
						return fmt.Errorf("%s: %q", key, got)
					}
					return nil
				})
			}
		})
	}
}

// A change that is announced to a peer after its own is not removed for that.
func TestEarlyChange_LaterChangesStay(t *testing.T) {
	a, b := stalled(t)
	noError(t, b.rewriteOwn("key", "changed"))
	noError(t, a.put("key", "again"))
	noError(t, a.put("last", "value"))
	goOn(t, b, a)
	await.Success(t, "it has what came last", func() error {
		b.hear(a.heads())
		if b.values()["/last"] == "" {
			return fmt.Errorf("%v", b.values())
		}
		return nil
	})
	if got := b.values()["/key"]; got != "again" {
		t.Errorf("the key has %q", got)
	}
}

// A new pin leaves no mark: any number of them can be added during a stalled walk.
func TestEarlyChange_ANewPinLeavesNoMark(t *testing.T) {
	_, b := stalled(t)
	noError(t, b.crdt.Put(Own(t.Context(), nil), datastore.NewKey("new pin"), []byte("value")))
	if marks := b.disk.marks(t); slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(m, earlyPrefix) }) {
		t.Errorf("marks %q", marks)
	}
}

// A delete that was asked for before a walk began removes nothing that this walk brings: it is a change
// of the same time.
func TestEarlyDelete_LaterWalksAreOfTheSameTime(t *testing.T) {
	a, b := stalled(t)
	mark := b.store.Mark() - 1
	noError(t, b.crdt.Delete(Own(t.Context(), map[string]uint64{"key": mark}), datastore.NewKey("key")))
	goOn(t, b, a)
	if got := b.values()["/key"]; got != "middle" { // The newest of what the walk brings.
		t.Errorf("the key has %q", got)
	}
}
