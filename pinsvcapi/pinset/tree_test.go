package pinset

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(b.created, a.created), cmp.Compare(a.slot, b.slot))
}

// The tree holds what a sorted slice holds, whatever the order of insertions
// and removals, and its nodes stay within their bounds.
func TestTreeIsASortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := newTree(func(a, b key) bool { return compareKeys(a, b) < 0 })
		var model []key
		order := rapid.SampledFrom([]string{"random", "newest first", "oldest first"}).Draw(t, "order")
		for i := range rapid.IntRange(1, 1500).Draw(t, "insertions") {
			k := key{group: uint64(i % 2), slot: uint32(i)}
			switch order {
			case "newest first":
				k.created = int64(i)
			case "oldest first":
				k.created = int64(-i)
			default:
				k.created = rapid.Int64Range(0, 50).Draw(t, "created")
			}
			at, _ := slices.BinarySearchFunc(model, k, compareKeys)
			model = slices.Insert(model, at, k)
			tr.insert(k)
		}
		for range rapid.IntRange(0, len(model)).Draw(t, "removals") {
			at := rapid.IntRange(0, len(model)-1).Draw(t, "at")
			if !tr.remove(model[at]) {
				t.Fatalf("%v is not there", model[at])
			}
			if tr.remove(model[at]) {
				t.Fatalf("%v was there twice", model[at])
			}
			model = slices.Delete(model, at, at+1)
		}
		if tr.root.size() != len(model) {
			t.Fatalf("len %d, want %d", tr.root.size(), len(model))
		}
		if got := tr.appendRange(nil, 0, tr.root.size()); !slices.Equal(got, model) {
			t.Fatal("the keys differ")
		}
		from := rapid.IntRange(0, len(model)).Draw(t, "from")
		to := rapid.IntRange(from, len(model)).Draw(t, "to")
		if got := tr.appendRange(nil, from, to); !slices.Equal(got, model[from:to]) {
			t.Fatalf("the keys of the ranks %d to %d differ", from, to)
		}
		for i, k := range model {
			if got := tr.rank(k); got != i {
				t.Fatalf("rank %d, want %d", got, i)
			}
		}
		checkNode(t, tr.root)
	})
}

func checkNode(t *rapid.T, n *node) {
	if len(n.keys) > fanout {
		t.Fatalf("a node has %d keys", len(n.keys))
	}
	if n.kids == nil {
		return
	}
	if len(n.kids) != len(n.keys) || len(n.sizes) != len(n.keys) {
		t.Fatal("children, sizes and keys differ in number")
	}
	for i, kid := range n.kids {
		if kid.keys[0] != n.keys[i] {
			t.Fatal("the key of a child is not its smallest")
		}
		if kid.size() != n.sizes[i] {
			t.Fatalf("a child has %d keys, not %d", kid.size(), n.sizes[i])
		}
		if len(kid.keys) < fanout/8 {
			t.Fatalf("a child has only %d keys", len(kid.keys))
		}
		checkNode(t, kid)
	}
}

// When every pin is the newest, most of the memory of the leaves is used.
func TestTreeStaysDenseWhenKeysComeInOrder(t *testing.T) {
	tr := newTree(func(a, b key) bool { return compareKeys(a, b) < 0 })
	const n = 20_000
	for i := range n {
		tr.insert(key{created: int64(i), slot: uint32(i)})
	}
	if leaves := countLeaves(tr.root); leaves > n/(fanout*3/4) {
		t.Errorf("%d keys take %d leaves of %d", n, leaves, fanout)
	}
}

func countLeaves(n *node) int {
	if n.kids == nil {
		return 1
	}
	total := 0
	for _, kid := range n.kids {
		total += countLeaves(kid)
	}
	return total
}
