package pinset

import (
	"context"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// A client that pages by the time of the last result sees each pin exactly
// once, newest first, whatever the limit and however many times are equal.
func TestPage_PagingByBeforeShowsEachPinOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := New()
		n := rapid.IntRange(0, 200).Draw(t, "pins")
		spread := rapid.Int64Range(1, 100).Draw(t, "spread")
		for i := range n {
			v.Put(Pin{
				CID: cidOf(i), Status: pinsvc.StatusPinned,
				Created: time.UnixMilli(rapid.Int64Range(0, spread).Draw(t, "created")),
			})
		}
		q := &pinsvc.Query{Statuses: pinsvc.AllStatuses, Limit: rapid.IntRange(1, 250).Draw(t, "limit")}
		seen := map[string]bool{}
		for {
			page, err := listOf(v.Page(context.Background(), q))
			if err != nil {
				t.Fatal(err)
			}
			if want := n - len(seen); page.Count != want {
				t.Fatalf("count is %d, want %d", page.Count, want)
			}
			for _, p := range page.Pins {
				if seen[p.CID.KeyString()] {
					t.Fatalf("%s came twice", p.CID)
				}
				seen[p.CID.KeyString()] = true
			}
			if page.Count == len(page.Pins) {
				break
			}
			q.Before = page.Pins[len(page.Pins)-1].Created
		}
		if len(seen) != n {
			t.Fatalf("%d of %d pins were listed", len(seen), n)
		}
	})
}

// A group of equal times that is larger than the largest page is cut there:
// a page is never unbounded.
func TestPage_CutsTheLargestGroup(t *testing.T) {
	v := New()
	for i := range pinsvc.MaxLimit + 10 {
		v.Put(Pin{CID: cidOf(i), Name: "n", Status: pinsvc.StatusPinned, Created: time.UnixMilli(7)})
	}
	for _, match := range []pinsvc.TextMatchingStrategy{pinsvc.MatchExact, pinsvc.MatchPartial} {
		q := &pinsvc.Query{Name: "n", Match: match, Statuses: pinsvc.AllStatuses, Limit: 10}
		page, err := listOf(v.Page(context.Background(), q))
		if err != nil || len(page.Pins) != pinsvc.MaxLimit || page.Count != pinsvc.MaxLimit+10 {
			t.Errorf("%v: %d pins of %d, %v", match, len(page.Pins), page.Count, err)
		}
	}
}

// Pins that nobody touches are in every page exactly once while others come,
// change and go.
func TestPage_HasEveryUnchangedPinAmongWriters(t *testing.T) {
	v := New()
	const still = 100
	for i := range still {
		v.Put(Pin{CID: cidOf(i), Name: "still", Status: pinsvc.StatusPinned, Created: time.UnixMilli(int64(i))})
	}
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				c := cidOf(1000 + w*10_000 + i%5000)
				v.Put(Pin{CID: c, Name: "moving", Status: statuses[i%4], Created: time.UnixMilli(int64(i % 200))})
				v.Update(c, func(m *Mutable) bool { m.Status = statuses[(i+1)%4]; return true })
				if i%3 == 0 {
					v.Remove(c)
				}
			}
		})
	}
	for _, match := range []pinsvc.TextMatchingStrategy{pinsvc.MatchExact, pinsvc.MatchPartial} {
		readers.Go(func() {
			q := &pinsvc.Query{Name: "still", Match: match, Statuses: pinsvc.AllStatuses, Limit: pinsvc.MaxLimit}
			for range 200 {
				page, err := listOf(v.Page(context.Background(), q))
				if err != nil || page.Count != still || len(page.Pins) != still {
					t.Errorf("%v: %d of %d pins, %v", match, len(page.Pins), page.Count, err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(done)
	writers.Wait()
	if err := v.Verify(); err != nil {
		t.Error(err)
	}
}
