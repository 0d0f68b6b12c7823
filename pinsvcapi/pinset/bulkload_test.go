package pinset

import (
	"context"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// A view that was loaded is one that was filled pin by pin, whatever happens
// to the pins before and after.
func TestFinishLoad_MakesAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, model := NewLoading(), naive{}
		change := func() {
			p := drawPin(t)
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				v.Remove(p.CID)
				delete(model, p.CID.KeyString())
			case 1:
				if v.Update(p.CID, func(m *Mutable) bool { *m = mutableOf(p); return true }) {
					model[p.CID.KeyString()] = model[p.CID.KeyString()].withMutable(mutableOf(p))
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
		if err := v.Verify(); err != nil {
			t.Fatal(err)
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
