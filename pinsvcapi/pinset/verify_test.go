package pinset

import (
	"context"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// damaged is a view of n pins in which one key of pin 1 is lost.
func damaged(n int) *View {
	v := New()
	for i := range n {
		v.Put(Pin{CID: cidOf(i), Name: "Name", Status: pinsvc.StatusPinned, Created: time.UnixMilli(int64(i))})
	}
	slot, _ := v.find(cidOf(1))
	v.index.named.remove(key{
		group: v.index.nameGroup("Name", pinsvc.StatusPinned), created: v.at(slot).created, slot: slot,
	})
	return v
}

func TestVerify_FindsALostKey(t *testing.T) {
	v := damaged(500)
	if err := v.Verify(); err == nil {
		t.Error("a lost key was not found")
	}
	loading := NewLoading()
	loading.Put(samplePin(1))
	for name, sound := range map[string]*View{"new": New(), "loading": loading} {
		if err := sound.Verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A lost key is noticed when its row changes or goes: from then on counts are
// right again, and the fault is counted.
func TestUpdate_RebuildsADamagedIndex(t *testing.T) {
	for name, change := range map[string]func(*View){
		"update": func(v *View) {
			v.Update(cidOf(1), func(m *Mutable) bool { m.Status = pinsvc.StatusFailed; return true })
		},
		"put":    func(v *View) { v.Put(Pin{CID: cidOf(1), Name: "else", Status: pinsvc.StatusPinned}) },
		"remove": func(v *View) { v.Remove(cidOf(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 500
			v := damaged(n)
			change(v)
			if err := v.Verify(); err != nil || v.IndexRebuilds() != 1 {
				t.Errorf("after %d rebuilds: %v", v.IndexRebuilds(), err)
			}
			q := &pinsvc.Query{Name: "Name", Statuses: pinsvc.SetOf(pinsvc.StatusPinned), Limit: 10}
			if page, err := v.Page(context.Background(), q); err != nil || page.Count != n-1 {
				t.Errorf("%d pins, %v, want %d", page.Count, err, n-1)
			}
			v.Put(samplePin(n + 1))
			if err := v.Verify(); err != nil || v.IndexRebuilds() != 1 {
				t.Errorf("after %d rebuilds: %v", v.IndexRebuilds(), err)
			}
		})
	}
}
