package pinset

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

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

// BenchmarkScan has the pins of a cluster that was loaded, in which the packed
// data of a slab are one string, and with data scattered over the heap.
func BenchmarkScan(b *testing.B) {
	const n = 1_000_000
	v := NewLoading()
	shuffled := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for _, i := range shuffled {
		v.Put(samplePin(i))
	}
	v.FinishLoad()
	for _, layout := range []string{"packed", "scattered"} {
		if layout == "scattered" {
			for _, i := range shuffled {
				r := v.at(uint32(i))
				r.data = strings.Clone(r.data)
			}
		}
		for name, q := range map[string]pinsvc.Query{
			"partial":  {Name: "f 00000005", Match: pinsvc.MatchPartial},
			"ipartial": {Name: "F 00000005", Match: pinsvc.MatchIPartial},
			"meta":     {Meta: map[string]string{"app": "7"}},
		} {
			q.Statuses, q.Limit = pinsvc.SetOf(pinsvc.StatusPinned), 10
			b.Run(layout+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if page, err := v.Page(context.Background(), &q); err != nil || len(page.Entries) == 0 {
						b.Fatal(page, err)
					}
				}
			})
		}
	}
}

// BenchmarkUpdate changes one pin after the other.
func BenchmarkUpdate(b *testing.B) {
	const n = 100_000
	cids := make([]cid.Cid, n)
	v := New()
	for i := range n {
		p := samplePin(i)
		cids[i] = p.CID
		v.Put(p)
	}
	for name, change := range map[string]func(i int, m *Mutable) bool{
		"nothing": func(int, *Mutable) bool { return false },
		"vector":  func(i int, m *Mutable) bool { m.Vector = uint32(i); return true },
		"status":  func(i int, m *Mutable) bool { m.Status = statuses[(i/n)%4]; return true },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				v.Update(cids[i%n], func(m *Mutable) bool { return change(i, m) })
			}
		})
	}
}
