package pinset

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestScan_EndsWithTheContext(t *testing.T) {
	v := New()
	v.Put(Pin{CID: cidOf(1), Status: pinsvc.StatusPinned})
	gone := errors.New("the client is gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	q := &pinsvc.Query{Meta: map[string]string{"a": "b"}, Statuses: pinsvc.AllStatuses, Limit: 1}
	for range 2 * concurrentScans {
		if _, err := listOf(v.Page(ctx, q)); !errors.Is(err, gone) {
			t.Fatalf("err = %v", err)
		}
	}
	if page, err := listOf(v.Page(context.Background(), q)); err != nil || page.Count != 0 {
		t.Fatalf("a later scan: %+v, %v", page, err)
	}
}

// Pins that other tools loaded in bulk share creation times. What a scan has
// seen of them may be gone when it compares it with what it sees next.
func TestScan_SurvivesPinsThatAreRemovedMeanwhile(t *testing.T) {
	v := New()
	const n = slabSize + 10
	for i := range n {
		v.Put(Pin{CID: cidOf(i), Name: "name", Status: pinsvc.StatusPinned, Created: time.UnixMilli(1)})
	}
	p := predicateOf(&pinsvc.Query{
		Name: "am", Match: pinsvc.MatchPartial, Statuses: pinsvc.SetOf(pinsvc.StatusPinned), Limit: pinsvc.MaxLimit,
	})
	var found newest
	v.scanSlab(0, &p, &found)
	for i := range slabSize {
		v.Remove(cidOf(i))
	}
	v.scanSlab(1, &p, &found)
	if found.count != n || len(found.candidates) != pinsvc.MaxLimit+1 {
		t.Errorf("found %d pins and keeps %d", found.count, len(found.candidates))
	}
}
