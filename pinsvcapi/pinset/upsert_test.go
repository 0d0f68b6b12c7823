package pinset

import (
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// A pin that takes the place of others is never seen beside them, nor are all missing.
func TestUpsertInPlaceOf_IsOneStep(t *testing.T) {
	v := New()
	pin := func(i int) Pin {
		return Pin{CID: cidOf(i), Name: "files", Created: time.UnixMilli(int64(i)), Status: pinsvc.StatusQueued, Revised: i%2 == 0}
	}
	v.Put(pin(0))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			q := pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses, Name: "files"}
			for {
				page, err := v.Page(t.Context(), &q)
				if err != nil || page.Count != 1 || len(page.Entries) != 1 {
					t.Errorf("%d pins, %v", page.Count, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 2000 {
		v.UpsertInPlaceOf(pin(i+1), nil, []cid.Cid{cidOf(i), cidOf(i + 2)})
	}
	close(done)
	wg.Wait()
	last, ok := v.Get(cidOf(2000))
	if !ok || !last.Revised || v.Len() != 1 {
		t.Errorf("%+v of %d pins", last, v.Len())
	}
}
