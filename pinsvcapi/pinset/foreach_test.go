package pinset

import (
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
