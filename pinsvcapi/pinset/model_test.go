package pinset

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
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
		CID:                cidOf(rapid.IntRange(0, 40).Draw(t, "cid")),
		Name:               rapid.SampledFrom(names).Draw(t, "name"),
		Created:            time.UnixMilli(rapid.Int64Range(1000, 1020).Draw(t, "created")).UTC(),
		Status:             rapid.SampledFrom(statuses[:]).Draw(t, "status"),
		OtherFormRequested: rapid.Bool().Draw(t, "form"),
		Written:            rapid.Uint32().Draw(t, "written"),
		Revision:           rapid.Uint16().Draw(t, "revision"),
		Placement:          rapid.Uint32().Draw(t, "placement"), Vector: rapid.Uint32().Draw(t, "vector"),
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

func mutableOf(p Pin) Mutable {
	return Mutable{
		Created: p.Created.UnixMilli(), Status: p.Status, Stamped: p.Stamped, OtherFormRequested: p.OtherFormRequested,
		Revised: p.Revised, Written: p.Written, Revision: p.Revision, Placement: p.Placement, Vector: p.Vector, Origins: p.Origins,
	}
}

func (p Pin) withMutable(m Mutable) Pin {
	p.Created, p.Status, p.Stamped = time.UnixMilli(m.Created).UTC(), m.Status, m.Stamped
	p.OtherFormRequested, p.Revised = m.OtherFormRequested, m.Revised
	p.Written, p.Revision, p.Placement, p.Vector, p.Origins = m.Written, m.Revision, m.Placement, m.Vector, m.Origins
	return p
}
