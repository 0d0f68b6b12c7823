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
func TestRankTree_IsASortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := newRankTree(func(a, b key) bool { return compareKeys(a, b) < 0 })
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
		if err := tr.verify(); err != nil {
			t.Fatal(err)
		}
	})
}

// Trees of any size are what they would be had the keys been inserted.
func TestRankTree_BuildIsASortedSlice(t *testing.T) {
	for _, n := range []int{0, 1, fanout, fanout*7/8 + 1, 5000, 200_000} {
		built := newRankTree(func(a, b key) bool { return a.created < b.created })
		keys := make([]key, n)
		for i := range keys {
			keys[i].created = int64(2 * i)
		}
		built.build(keys)
		if got := built.appendRange(nil, 0, n); built.root.size() != n || !slices.Equal(got, keys) {
			t.Fatalf("a tree of %d keys has %d", n, len(got))
		}
		for i := range min(n, 500) {
			k := key{created: int64(2*(i*7919%n) + 1)}
			if rank := built.rank(k); rank != int(k.created+1)/2 {
				t.Fatalf("rank of %d is %d", k.created, rank)
			}
			if !built.remove(key{created: k.created - 1}) {
				t.Fatalf("%d is not there", k.created-1)
			}
			built.insert(key{created: k.created - 1})
		}
		if built.root.size() != n {
			t.Fatalf("%d keys are left of %d", built.root.size(), n)
		}
	}
}

// When every pin is the newest, most of the memory of the leaves is used.
func TestRankTree_StaysDenseWhenKeysComeInOrder(t *testing.T) {
	tr := newRankTree(func(a, b key) bool { return compareKeys(a, b) < 0 })
	const n = 20_000
	for i := range n {
		tr.insert(key{created: int64(i), slot: uint32(i)})
	}
	if leaves := countLeaves(tr.root); leaves > n/(fanout*3/4) {
		t.Errorf("%d keys take %d leaves of %d", n, leaves, fanout)
	}
}

func countLeaves(n *node) int {
	if n.children == nil {
		return 1
	}
	total := 0
	for _, kid := range n.children {
		total += countLeaves(kid)
	}
	return total
}
