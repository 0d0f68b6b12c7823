package pinset

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// A view that was loaded is one that was filled pin by pin, whatever happens
// to the pins before and after.
func TestLoadedViewIsAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, model := NewLoading(), naive{}
		change := func() {
			p := drawPin(t)
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				v.Remove(p.CID)
				delete(model, p.CID.KeyString())
			case 1:
				if v.Update(p.CID, func(m *Mutable) bool { *m = marksOf(p); return true }) {
					model[p.CID.KeyString()] = model[p.CID.KeyString()].marked(marksOf(p))
				}
			default:
				v.Put(p)
				model[p.CID.KeyString()] = p
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "before") {
			change()
		}
		v.FinishLoad()
		v.FinishLoad()
		for range rapid.IntRange(0, 20).Draw(t, "after") {
			change()
		}
		q := drawQuery(t)
		got, err := listOf(v.Page(context.Background(), q))
		if err != nil {
			t.Fatal(err)
		}
		if want := model.page(q); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v:\n got %+v\nwant %+v", q, got, want)
		}
		if n := v.Count(pinsvc.AllStatuses); n != len(model) || v.Len() != n {
			t.Fatalf("%d and %d pins, want %d", n, v.Len(), len(model))
		}
	})
}

// Trees of any size are what they would be had the keys been inserted.
func TestBuiltTreeIsASortedSlice(t *testing.T) {
	for _, n := range []int{0, 1, fanout, fanout*7/8 + 1, 5000, 200_000} {
		built := newTree(func(a, b key) bool { return a.created < b.created })
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

// More pins than are read at once, most of them of one time, are shown each
// once, and newer ones first.
func TestEachShowsGroupsOfAnySize(t *testing.T) {
	v := New()
	const n = 5 * eachChunk
	for i := range n {
		created := int64(7)
		if i%5 == 0 {
			created = int64(i % 20)
		}
		v.Put(Pin{CID: cidOf(i), Created: time.UnixMilli(created), Status: statuses[i%2]})
	}
	seen, last := map[string]bool{}, int64(1<<62)
	v.ForEach(pinsvc.AllStatuses, func(key string, m Mutable) bool {
		if seen[key] || m.Created > last {
			t.Fatalf("pin of %d after %d, shown before: %v", m.Created, last, seen[key])
		}
		seen[key], last = true, m.Created
		return true
	})
	if len(seen) != n {
		t.Errorf("%d of %d pins were shown", len(seen), n)
	}
	shown := 0
	v.ForEach(pinsvc.AllStatuses, func(string, Mutable) bool { shown++; return shown < 3 })
	if shown != 3 {
		t.Errorf("%d pins were shown to one that had enough of 3", shown)
	}
}
