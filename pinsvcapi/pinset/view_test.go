package pinset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// cidOf returns a CID for each number: raw, or dag-pb in one of its two forms.
func cidOf(i int) cid.Cid {
	sum, err := multihash.Sum(fmt.Append(nil, i), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	switch i % 3 {
	case 0:
		return cid.NewCidV0(sum)
	case 1:
		return cid.NewCidV1(cid.DagProtobuf, sum)
	default:
		return cid.NewCidV1(cid.Raw, sum)
	}
}

// naive is the view as a list, in words of the contract.
type naive map[string]Pin

// list is a page with its entries as pins.
type list struct {
	Count int
	Pins  []Pin
}

func listOf(page Page, err error) (list, error) {
	l := list{Count: page.Count, Pins: make([]Pin, len(page.Entries))}
	for i, e := range page.Entries {
		var bad error
		l.Pins[i], bad = e.Pin()
		err = errors.Join(err, bad)
	}
	return l, err
}

func (n naive) page(q *pinsvc.Query) list {
	var all []Pin
	for _, p := range n {
		if q.Matches(pinsvc.PinStatus{
			Status: p.Status, Created: p.Created, Pin: pinsvc.Pin{CID: p.CID, Name: p.Name, Meta: p.Meta},
		}) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Pin) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.CID.KeyString(), b.CID.KeyString()))
	})
	// Groups of equal times go on the page while they fit; the first does
	// in any case, up to the largest page.
	page := list{Count: len(all), Pins: []Pin{}}
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].Created.Equal(all[i].Created) {
			j++
		}
		if j > q.Limit && i > 0 {
			break
		}
		page.Pins = append(page.Pins, all[i:min(j, max(q.Limit, pinsvc.MaxLimit))]...)
		i = j
	}
	return page
}

var names = []string{"", "backup", "Backup", "BACKUP", "back", "photos 2026", "Straße", "STRASSE", "k", "K", "\u212a"}

func drawPin(t *rapid.T) Pin {
	p := Pin{
		CID:            cidOf(rapid.IntRange(0, 40).Draw(t, "cid")),
		Name:           rapid.SampledFrom(names).Draw(t, "name"),
		Created:        time.UnixMilli(rapid.Int64Range(1000, 1020).Draw(t, "created")).UTC(),
		Status:         rapid.SampledFrom(statuses[:]).Draw(t, "status"),
		AskedOtherForm: rapid.Bool().Draw(t, "form"),
		Written:        rapid.Uint32().Draw(t, "written"),
		Placement:      rapid.Uint32().Draw(t, "placement"), Vector: rapid.Uint32().Draw(t, "reports"),
		Origins: rapid.Uint32().Draw(t, "origins"), ExpiresAt: rapid.SampledFrom([]uint32{0, 0, 1, 1<<32 - 1}).Draw(t, "expiry"),
	}
	if rapid.Bool().Draw(t, "has meta") {
		p.Meta = map[string]string{
			"app": rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "app"), "long": strings.Repeat("x", 300),
		}
	}
	return p
}

func drawQuery(t *rapid.T) *pinsvc.Query {
	q := &pinsvc.Query{
		Statuses: pinsvc.StatusSet(rapid.IntRange(1, 15).Draw(t, "statuses") << 1),
		Limit:    rapid.IntRange(1, 30).Draw(t, "limit"),
	}
	if rapid.Bool().Draw(t, "by name") {
		q.Name = rapid.SampledFrom(names).Draw(t, "wanted name")
		q.Match = pinsvc.TextMatchingStrategy(rapid.IntRange(0, 3).Draw(t, "match"))
	}
	at := func(label string) time.Time {
		return time.UnixMicro(rapid.Int64Range(999_000, 1_021_000).Draw(t, label)).UTC()
	}
	if rapid.Bool().Draw(t, "before?") {
		q.Before = at("before")
	}
	if rapid.Bool().Draw(t, "after?") {
		q.After = at("after").Truncate(time.Millisecond)
	}
	if rapid.IntRange(0, 3).Draw(t, "by meta") == 0 {
		q.Meta = map[string]string{"app": rapid.SampledFrom([]string{"a", ""}).Draw(t, "wanted app")}
	}
	if rapid.IntRange(0, 3).Draw(t, "by cid") == 0 {
		for range rapid.IntRange(1, 5).Draw(t, "cids") {
			c := cidOf(rapid.IntRange(0, 40).Draw(t, "wanted cid"))
			if other, ok := pinsvc.OtherForm(c); ok && rapid.Bool().Draw(t, "other form") {
				c = other
			}
			q.CIDs = append(q.CIDs, c)
		}
	}
	return q
}

func marksOf(p Pin) Mutable {
	return Mutable{
		Created: p.Created.UnixMilli(), Status: p.Status, Stamped: p.Stamped, AskedOtherForm: p.AskedOtherForm,
		Written: p.Written, Placement: p.Placement, Vector: p.Vector, Origins: p.Origins,
	}
}

func (p Pin) marked(m Mutable) Pin {
	p.Created, p.Status, p.Stamped = time.UnixMilli(m.Created).UTC(), m.Status, m.Stamped
	p.AskedOtherForm = m.AskedOtherForm
	p.Written, p.Placement, p.Vector, p.Origins = m.Written, m.Placement, m.Vector, m.Origins
	return p
}

// Whatever is put in, changed and removed, every page and count is that of a
// plain list.
func TestViewIsAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, model := New(), naive{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				p := drawPin(t)
				v.Put(p)
				model[p.CID.KeyString()] = p
			},
			"put both forms": func(t *rapid.T) {
				p := drawPin(t)
				if other, ok := pinsvc.OtherForm(p.CID); ok {
					p.CID = other
				}
				v.Put(p)
				model[p.CID.KeyString()] = p
			},
			"merge": func(t *rapid.T) {
				p := drawPin(t)
				held, has := model[p.CID.KeyString()]
				v.Upsert(p, func(old, fresh *Mutable) {
					if (old != nil) != has || has && *old != marksOf(held) || *fresh != marksOf(p) {
						t.Fatalf("Merge shows %+v and %+v, want %+v and %+v", old, fresh, held, p)
					}
					if old != nil {
						*fresh = *old
					}
				})
				if has {
					p = p.marked(marksOf(held))
				}
				model[p.CID.KeyString()] = p
			},
			"mark": func(t *rapid.T) {
				p := drawPin(t)
				keep := rapid.Bool().Draw(t, "keep")
				held, want := model[p.CID.KeyString()]
				if got := v.Update(p.CID, func(m *Mutable) bool { *m = marksOf(p); return keep }); got != want {
					t.Fatalf("Mark says %v, want %v", got, want)
				}
				if want && keep {
					model[p.CID.KeyString()] = held.marked(marksOf(p))
				}
			},
			"walk": func(t *rapid.T) {
				m := marksOf(drawPin(t))
				odd := func(key string) bool { return key[len(key)-1]%2 == 1 }
				shown := map[string]bool{}
				v.UpdateAll(func(key string, old *Mutable) bool {
					if held, ok := model[key]; !ok || shown[key] || *old != marksOf(held) {
						t.Fatalf("Walk shows %+v, want %+v", old, held)
					}
					shown[key] = true
					*old = m
					return odd(key)
				})
				for key, p := range model {
					if !shown[key] {
						t.Fatalf("Walk does not show %s", p.CID)
					}
					if odd(key) {
						model[key] = p.marked(m)
					}
				}
			},
			"each": func(t *rapid.T) {
				set := pinsvc.StatusSet(rapid.IntRange(0, 15).Draw(t, "set") << 1)
				left := map[string]Mutable{}
				for key, p := range model {
					if set.Has(p.Status) {
						left[key] = marksOf(p)
					}
				}
				if got := v.Count(set); got != len(left) {
					t.Fatalf("Count(%s) is %d, want %d", set, got, len(left))
				}
				v.ForEach(set, func(key string, m Mutable) bool {
					if want, ok := left[key]; !ok || m != want {
						t.Fatalf("Each(%s) shows %+v, want %+v", set, m, want)
					}
					delete(left, key)
					return true
				})
				if len(left) > 0 {
					t.Fatalf("Each(%s) does not show %v", set, left)
				}
			},
			"remove": func(t *rapid.T) {
				c := cidOf(rapid.IntRange(0, 40).Draw(t, "removed"))
				_, want := model[c.KeyString()]
				delete(model, c.KeyString())
				if got := v.Remove(c); got != want {
					t.Fatalf("Remove says %v, want %v", got, want)
				}
			},
			"": func(t *rapid.T) {
				q := drawQuery(t)
				got, err := listOf(v.Page(context.Background(), q))
				if err != nil {
					t.Fatal(err)
				}
				if want := model.page(q); !reflect.DeepEqual(got, want) {
					t.Fatalf("%+v:\n got %+v\nwant %+v", q, got, want)
				}
				if v.Len() != len(model) {
					t.Fatalf("Len is %d, want %d", v.Len(), len(model))
				}
			},
		})
	})
}

// A client that pages by the time of the last result sees each pin exactly
// once, newest first, whatever the limit and however many times are equal.
func TestPagingByBeforeShowsEachPinOnce(t *testing.T) {
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
			t.Fatalf("saw %d of %d pins", len(seen), n)
		}
	})
}

func TestGetFindsEitherForm(t *testing.T) {
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

// Pins that were made at one moment are told apart by their CIDs, which are in
// slots that later pins get.
func TestSlotsAreReusedAmongPinsOfOneMoment(t *testing.T) {
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

// A group of equal times that is larger than the largest page is cut there:
// an answer is never unbounded.
func TestLargestGroupIsCut(t *testing.T) {
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

func TestScanEndsWithTheContext(t *testing.T) {
	v := New()
	v.Put(Pin{CID: cidOf(1), Status: pinsvc.StatusPinned})
	gone := errors.New("the client went away")
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
func TestScanStandsPinsThatGoMeanwhile(t *testing.T) {
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
	if found.count != n || len(found.keys) != pinsvc.MaxLimit+1 {
		t.Errorf("saw %d pins and keeps %d", found.count, len(found.keys))
	}
}

// Pins that nobody touches are in every page exactly once while others come,
// change and go.
func TestReadersSeeWhatDoesNotChange(t *testing.T) {
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
}
