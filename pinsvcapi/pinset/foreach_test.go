package pinset

import (
	"maps"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// More pins than are read at once, most of them of one time, are shown each
// once, and newer ones first.
func TestForEach_VisitsGroupsOfAnySize(t *testing.T) {
	v := New()
	const n = 5 * forEachChunk
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

func TestAll_VisitsEveryPinAlsoWhileLoading(t *testing.T) {
	v := NewLoading()
	want := make(map[string]bool)
	for i := range 2*slabSize + 7 {
		p := Pin{CID: cidOf(i), Status: pinsvc.StatusQueued, Vector: uint32(i)}
		v.Put(p)
		want[p.CID.KeyString()] = true
	}
	v.Remove(cidOf(3))
	delete(want, cidOf(3).KeyString())
	for _, when := range []string{"while loading", "afterwards"} {
		got := make(map[string]bool)
		v.All(func(key string, _ Mutable) { got[key] = true })
		if !maps.Equal(got, want) {
			t.Errorf("%s: %d pins, want %d", when, len(got), len(want))
		}
		v.FinishLoad()
	}
}
