package pinset

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// viewMachine changes a view and a plain list in the same way.
type viewMachine struct {
	view  *View
	model naive
}

// Every page, count and visit is that of a plain list, whatever the changes.
func TestView_IsAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := viewMachine{New(), naive{}}
		t.Repeat(map[string]func(*rapid.T){
			"put":            m.put,
			"put both forms": m.putOtherForm,
			"upsert":         m.upsert,
			"update":         m.update,
			"update all":     m.updateAll,
			"for each":       m.forEach,
			"remove":         m.remove,
			"":               m.check,
		})
	})
}

func (m viewMachine) put(t *rapid.T) {
	p := drawPin(t)
	m.view.Put(p)
	m.model[p.CID.KeyString()] = p
}

func (m viewMachine) putOtherForm(t *rapid.T) {
	p := drawPin(t)
	if other, ok := pinsvc.OtherForm(p.CID); ok {
		p.CID = other
	}
	m.view.Put(p)
	m.model[p.CID.KeyString()] = p
}

func (m viewMachine) upsert(t *rapid.T) {
	p := drawPin(t)
	held, has := m.model[p.CID.KeyString()]
	m.view.Upsert(p, func(old, fresh *Mutable) {
		if (old != nil) != has || has && *old != mutableOf(held) || *fresh != mutableOf(p) {
			t.Fatalf("Upsert shows %+v and %+v, want %+v and %+v", old, fresh, held, p)
		}
		if old != nil {
			*fresh = *old
		}
	})
	if has {
		p = p.withMutable(mutableOf(held))
	}
	m.model[p.CID.KeyString()] = p
}

func (m viewMachine) update(t *rapid.T) {
	p := drawPin(t)
	keep := rapid.Bool().Draw(t, "keep")
	held, want := m.model[p.CID.KeyString()]
	if got := m.view.Update(p.CID, func(old *Mutable) bool { *old = mutableOf(p); return keep }); got != want {
		t.Fatalf("Update says %v, want %v", got, want)
	}
	if want && keep {
		m.model[p.CID.KeyString()] = held.withMutable(mutableOf(p))
	}
}

func (m viewMachine) updateAll(t *rapid.T) {
	fresh := mutableOf(drawPin(t))
	odd := func(key string) bool { return key[len(key)-1]%2 == 1 }
	shown := map[string]bool{}
	m.view.UpdateAll(func(key string, old *Mutable) bool {
		if held, ok := m.model[key]; !ok || shown[key] || *old != mutableOf(held) {
			t.Fatalf("UpdateAll shows %+v, want %+v", old, held)
		}
		shown[key] = true
		*old = fresh
		return odd(key)
	})
	for key, p := range m.model {
		if !shown[key] {
			t.Fatalf("UpdateAll does not show %s", p.CID)
		}
		if odd(key) {
			m.model[key] = p.withMutable(fresh)
		}
	}
}

func (m viewMachine) forEach(t *rapid.T) {
	set := pinsvc.StatusSet(rapid.IntRange(0, 15).Draw(t, "set") << 1)
	left := map[string]Mutable{}
	for key, p := range m.model {
		if set.Has(p.Status) {
			left[key] = mutableOf(p)
		}
	}
	if got := m.view.Count(set); got != len(left) {
		t.Fatalf("Count(%s) is %d, want %d", set, got, len(left))
	}
	m.view.ForEach(set, func(key string, got Mutable) bool {
		if want, ok := left[key]; !ok || got != want {
			t.Fatalf("ForEach(%s) shows %+v, want %+v", set, got, want)
		}
		delete(left, key)
		return true
	})
	if len(left) > 0 {
		t.Fatalf("ForEach(%s) does not show %v", set, left)
	}
}

func (m viewMachine) remove(t *rapid.T) {
	c := cidOf(rapid.IntRange(0, 40).Draw(t, "removed"))
	_, want := m.model[c.KeyString()]
	delete(m.model, c.KeyString())
	if got := m.view.Remove(c); got != want {
		t.Fatalf("Remove says %v, want %v", got, want)
	}
}

func (m viewMachine) check(t *rapid.T) {
	q := drawQuery(t)
	got, err := listOf(m.view.Page(context.Background(), q))
	if err != nil {
		t.Fatal(err)
	}
	if want := m.model.page(q); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v:\n got %+v\nwant %+v", q, got, want)
	}
	if m.view.Len() != len(m.model) {
		t.Fatalf("Len is %d, want %d", m.view.Len(), len(m.model))
	}
	if err := m.view.Verify(); err != nil || m.view.IndexRebuilds() != 0 {
		t.Fatalf("after %d rebuilds: %v", m.view.IndexRebuilds(), err)
	}
	p := drawPin(t)
	held, want := m.model[p.CID.KeyString()]
	if got, ok := m.view.Lookup(p.CID); ok != want || ok && got != mutableOf(held) {
		t.Fatalf("Lookup(%s) is %+v, %v, want %+v, %v", p.CID, got, ok, held, want)
	}
}

func TestGet_FindsEitherForm(t *testing.T) {
	v := New()
	v0 := cidOf(0)
	v1, _ := pinsvc.OtherForm(v0)
	v.Put(Pin{CID: v0, Name: "v0", Status: pinsvc.StatusQueued})
	for _, c := range []cid.Cid{v0, v1} {
		if p, ok := v.Get(c); !ok || p.CID != v0 {
			t.Errorf("Get(%s) = %v, %v", c, p.CID, ok)
		}
	}
	v.Put(Pin{CID: v1, Name: "v1", Status: pinsvc.StatusQueued})
	for _, c := range []cid.Cid{v0, v1} {
		if p, ok := v.Get(c); !ok || p.CID != c {
			t.Errorf("with both there, Get(%s) = %v, %v", c, p.CID, ok)
		}
	}
	if _, ok := v.Get(cidOf(2)); ok {
		t.Error("Get found what nobody put in")
	}
}

// Pins that were made at one moment differ in their CIDs, which are in
// slots that later pins get.
func TestView_ReusesSlotsAmongPinsOfOneMoment(t *testing.T) {
	v := New()
	order := rand.New(rand.NewPCG(1, 2))
	there := make(map[int]bool)
	for range 30_000 {
		i := order.IntN(3000)
		if there[i] {
			if !v.Remove(cidOf(i)) {
				t.Fatalf("pin %d is not there", i)
			}
			delete(there, i)
			continue
		}
		v.Put(Pin{CID: cidOf(i), Name: "same", Created: time.UnixMilli(1000), Status: pinsvc.StatusPinned})
		there[i] = true
	}
	if err := v.Verify(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "same"} {
		page, err := listOf(v.Page(t.Context(), &pinsvc.Query{Limit: 1000, Name: name, Statuses: pinsvc.AllStatuses}))
		if err != nil {
			t.Fatal(err)
		}
		if page.Count != len(there) {
			t.Errorf("name %q: %d pins, want %d", name, page.Count, len(there))
		}
		if !slices.IsSortedFunc(page.Pins, func(a, b Pin) int { return strings.Compare(a.CID.KeyString(), b.CID.KeyString()) }) {
			t.Errorf("name %q: the page is out of order", name)
		}
	}
}
