package clusterrpc

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// match is a record that a query wants.
type match struct {
	rec     api.Pin
	created time.Time
	verdict *verdict // nil until it was asked for
}

// newerFirst is the order of lists: newest first, ties by the bytes of the
// CID (D3).
func newerFirst(a, b match) int {
	return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.rec.Cid.KeyString(), b.rec.Cid.KeyString()))
}

// page counts matches that come in any order and keeps the newest of them, as
// many as a page can need.
type page struct {
	limit int
	count int
	kept  matchHeap
}

// newPage makes a page of at most limit pins, save that a first group of
// equal times is not cut before pinsvc.MaxLimit.
func newPage(limit int) *page { return &page{limit: limit} }

// room is how many matches decide what the page is: all that it may have, and
// one more to see whether a group goes on.
func (p *page) room() int { return max(p.limit, pinsvc.MaxLimit) + 1 }

func (p *page) add(m match) {
	p.count++
	switch {
	case len(p.kept) < p.room():
		heap.Push(&p.kept, m)
	case newerFirst(m, p.kept[0]) < 0:
		p.kept[0] = m
		heap.Fix(&p.kept, 0)
	}
}

// cut returns the page in order. The page does not end inside a group of
// equal times: the group moves whole to the next page, and one that is larger
// than the limit is returned whole, up to pinsvc.MaxLimit.
func (p *page) cut() []match {
	sorted := slices.Clone(p.kept)
	slices.SortFunc(sorted, newerFirst)
	if len(sorted) <= p.limit {
		return sorted
	}
	sameTime := func(i, j int) bool { return sorted[i].created.Equal(sorted[j].created) }
	end := p.limit
	for end > 0 && sameTime(end-1, end) {
		end--
	}
	if end == 0 {
		most := min(len(sorted), max(p.limit, pinsvc.MaxLimit))
		for end < most && sameTime(end, 0) {
			end++
		}
	}
	return sorted[:end]
}

// matchHeap has the oldest match on top.
type matchHeap []match

func (h matchHeap) Len() int           { return len(h) }
func (h matchHeap) Less(i, j int) bool { return newerFirst(h[i], h[j]) > 0 }
func (h matchHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *matchHeap) Push(m any)        { *h = append(*h, m.(match)) }
func (h *matchHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
