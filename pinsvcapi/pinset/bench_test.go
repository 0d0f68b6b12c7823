package pinset

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// The promise of memory: see BenchmarkMemory for a million pins.
func TestPinFitsIn300Bytes(t *testing.T) {
	if got := bytesPerPin(50_000); got > 300 {
		t.Errorf("a pin takes %d bytes", got)
	}
}

func bytesPerPin(n int) int {
	v := New()
	used := heapOf(func() {
		for i := range n {
			v.Put(samplePin(i))
		}
	})
	runtime.KeepAlive(v)
	return used / n
}

// heapOf is how much more is in use after fill than before.
func heapOf(fill func()) int {
	inUse := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := inUse()
	fill()
	return inUse() - before
}

// samplePin has a CID of 59 characters, a name of 20 and one meta pair.
func samplePin(i int) Pin {
	return Pin{
		CID: cidOf(3*i + 2), Name: fmt.Sprintf("backup of %010d", i), Meta: map[string]string{"app": fmt.Sprint(i % 100)},
		Created: time.UnixMilli(1_790_000_000_000 + int64(i*7919%1_000_003)), Status: pinsvc.StatusPinned,
	}
}

func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(bytesPerPin(1_000_000)), "B/pin")
	}
}

func BenchmarkPage(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		v := New()
		for i := range n {
			v.Put(samplePin(i))
		}
		middle := samplePin(n / 2)
		for name, q := range map[string]pinsvc.Query{
			"first":    {},
			"middle":   {Before: middle.Created},
			"name":     {Name: middle.Name},
			"iname":    {Name: strings.ToUpper(middle.Name), Match: pinsvc.MatchIExact},
			"cid":      {CIDs: []cid.Cid{middle.CID}},
			"partial":  {Name: "f 00000005", Match: pinsvc.MatchPartial},
			"ipartial": {Name: "F 00000005", Match: pinsvc.MatchIPartial},
			"meta":     {Meta: map[string]string{"app": "7"}},
		} {
			q.Statuses, q.Limit = pinsvc.SetOf(pinsvc.StatusPinned), 10
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if page, err := v.Page(context.Background(), &q); err != nil || len(page.Entries) == 0 {
						b.Fatal(page, err)
					}
				}
			})
		}
	}
}
