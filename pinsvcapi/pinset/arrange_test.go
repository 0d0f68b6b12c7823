package pinset

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// However often pins come, change and go, they keep their texts, whether the
// view was loaded or not.
func TestTextsStayWithTheirPins(t *testing.T) {
	for name, loading := range map[string]bool{"new": false, "loaded": true} {
		t.Run(name, func(t *testing.T) {
			v, model := New(), naive{}
			if loading {
				v = NewLoading()
			}
			random := rand.New(rand.NewPCG(1, 2))
			change := func(times int) {
				for i := range times {
					c := cidOf(random.IntN(2 * slabSize))
					if random.IntN(4) == 0 {
						delete(model, c.KeyString())
						v.Remove(c)
						continue
					}
					p := Pin{
						CID: c, Name: strings.Repeat("n", random.IntN(40)) + fmt.Sprint(i), Status: pinsvc.StatusPinned,
						Created: time.UnixMilli(random.Int64N(5000)).UTC(), Meta: map[string]string{"i": fmt.Sprint(i)},
					}
					model[c.KeyString()] = p
					v.Put(p)
				}
			}
			change(5 * slabSize)
			v.FinishLoad()
			change(10 * slabSize)
			if v.Len() != len(model) {
				t.Fatalf("%d pins, want %d", v.Len(), len(model))
			}
			for _, want := range model {
				if got, ok := v.Get(want.CID); !ok || !reflect.DeepEqual(got, want) {
					t.Fatalf("got %+v, want %+v", got, want)
				}
			}
			q := &pinsvc.Query{Statuses: pinsvc.AllStatuses, Limit: pinsvc.MaxLimit}
			if got, err := listOf(v.Page(t.Context(), q)); err != nil || !reflect.DeepEqual(got, model.page(q)) {
				t.Fatalf("the first page differs (%v)", err)
			}
		})
	}
}

// Texts that were left behind do not stay for ever.
func TestChangesDoNotCostMemory(t *testing.T) {
	const n = 20_000
	v := newView(1) // The journal's memory does not depend on the pins.
	used := heapOf(func() {
		for round := range 4 {
			for i := range n {
				p := samplePin(i)
				p.Meta = map[string]string{"round": fmt.Sprint(round)}
				v.Put(p)
			}
		}
	})
	if perPin := used / n; perPin > 300 {
		t.Errorf("a pin that was changed takes %d bytes", perPin)
	}
	if v.Len() != n {
		t.Error(v.Len())
	}
}
