package pinset

import (
	"context"
	"math"
	"slices"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// window is the range of creation times of a query, in Unix milliseconds, both
// ends inclusive.
type window struct {
	newest, oldest int64
}

// windowOf turns the exclusive bounds of a query, which may be finer than a
// millisecond, into the inclusive range of whole milliseconds between them.
func windowOf(q *pinsvc.Query) window {
	w := window{newest: math.MaxInt64, oldest: math.MinInt64}
	if !q.Before.IsZero() {
		w.newest = q.Before.UnixMilli()
		if q.Before.Nanosecond()%1e6 == 0 {
			w.newest--
		}
	}
	if !q.After.IsZero() {
		w.oldest = q.After.UnixMilli() + 1
	}
	return w
}

func (w window) has(created int64) bool { return created >= w.oldest && created <= w.newest }

// Page returns one page of the pins that pass q, and the number of all that do.
// It fails only when the context ends before or during a scan.
func (v *View) Page(ctx context.Context, q *pinsvc.Query) (Page, error) {
	p := predicateOf(q)
	whole := q.Match == pinsvc.MatchExact || q.Match == pinsvc.MatchIExact
	switch {
	case len(q.CIDs) > 0:
		return v.pageByCID(q, &p), nil
	case len(q.Meta) > 0 || q.Name != "" && !whole:
		return v.scan(ctx, q.Limit, &p)
	default:
		return v.pageByIndex(q, &p), nil
	}
}

// pageByIndex serves a query that needs no more than the index.
func (v *View) pageByIndex(q *pinsvc.Query, p *predicate) Page {
	v.mu.RLock()
	defer v.mu.RUnlock()
	spans := v.index.spans(p)
	keys := first(make([]key, 0, q.Limit+1), spans, q.Limit+1, v.compare)
	n := cut(keys, q.Limit)
	if n == 0 && len(keys) > 0 {
		keys = first(nil, spans, pinsvc.MaxLimit, v.compare)
		n = sameTime(keys)
	}
	return v.entriesOf(p, keys[:n], count(spans))
}

// pageByCID serves a query by CID; the other filters apply to what it finds.
func (v *View) pageByCID(q *pinsvc.Query, p *predicate) Page {
	v.mu.RLock()
	defer v.mu.RUnlock()
	keys := make([]key, 0, len(q.CIDs))
	for _, c := range q.CIDs {
		for slot, r := range v.forms(c) {
			k := key{created: r.created, slot: slot}
			if p.accepts(r) && !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	slices.SortFunc(keys, v.compare)
	return v.entriesOf(p, trim(keys, q.Limit), len(keys))
}

// cut returns how many of up to limit+1 keys belong on the page. A page never
// ends inside a group of equal creation times: the client continues it by that
// time. Zero of some means that the first group does not fit.
func cut(keys []key, limit int) int {
	if len(keys) <= limit {
		return len(keys)
	}
	n := limit
	for n > 0 && keys[n-1].created == keys[limit].created {
		n--
	}
	return n
}

// sameTime returns how many keys share the creation time of the first.
func sameTime(keys []key) int {
	n := 0
	for n < len(keys) && keys[n].created == keys[0].created {
		n++
	}
	return n
}

// trim cuts a page from all keys that there are; a first group that does not
// fit comes whole, up to the largest page.
func trim(keys []key, limit int) []key {
	n := cut(keys[:min(len(keys), limit+1)], limit)
	if n == 0 {
		n = min(sameTime(keys), pinsvc.MaxLimit)
	}
	return keys[:n]
}

// entriesOf reads the rows of the keys. It needs the lock.
func (v *View) entriesOf(p *predicate, keys []key, total int) Page {
	page := Page{Count: total, Entries: make([]Entry, 0, len(keys))}
	for _, k := range keys {
		r := v.at(k.slot)
		if !p.accepts(r) {
			page.Count-- // Two names with one hash; see index.
			continue
		}
		page.Entries = append(page.Entries, r.entry())
	}
	return page
}
