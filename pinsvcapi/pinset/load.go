package pinset

import (
	"runtime"
	"slices"
	"sync"
)

// NewLoading returns an empty view that keeps no order yet: until FinishLoad is
// called pins are put in and changed at a fraction of the cost, and Page and
// ForEach see none of them.
func NewLoading() *View {
	v := New()
	v.loading = true
	return v
}

// FinishLoad puts the pins in order, and from then on keeps them so. It takes
// about a second for a million pins, in which nobody else sees or changes the view.
// Calling it again does nothing.
func (v *View) FinishLoad() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.loading {
		return
	}
	v.arrange()
	v.loading = false
	v.journal.restart()
	trees := []*tree{v.index.all, v.index.named, v.index.folded}
	var wg sync.WaitGroup
	room := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)))
	for _, t := range trees {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			t.build(v.sortedKeys(t))
		})
	}
	wg.Wait()
}

// sortedKeys are the keys of all pins that belong into one of the trees.
func (v *View) sortedKeys(t *tree) []key {
	var keys []key
	if t == v.index.all {
		keys = make([]key, 0, v.n)
	}
	// From the newest to the oldest they are mostly sorted already.
	for at := range v.used {
		slot := v.used - 1 - at
		r := v.at(slot)
		if r.status == 0 {
			continue
		}
		v.index.each(slot, r, func(of *tree, k key) {
			if of == t {
				keys = append(keys, k)
			}
		})
	}
	slices.SortFunc(keys, func(a, b key) int {
		switch {
		case a.group != b.group:
			if a.group < b.group {
				return -1
			}
			return 1
		default:
			return v.compare(a, b)
		}
	})
	return keys
}

// build fills an empty tree with sorted keys. Nodes are left a little room, so
// that the first changes do not split them all.
func (t *tree) build(keys []key) {
	const full = fanout * 7 / 8
	if len(keys) == 0 {
		return
	}
	var level []*node
	for _, part := range parts(len(keys), full) {
		level = append(level, &node{keys: append(make([]key, 0, len(keys[part[0]:part[1]])+1), keys[part[0]:part[1]]...)})
	}
	for len(level) > 1 {
		var above []*node
		for _, part := range parts(len(level), full) {
			n := &node{}
			for _, kid := range level[part[0]:part[1]] {
				n.keys = append(n.keys, kid.keys[0])
				n.kids = append(n.kids, kid)
				n.sizes = append(n.sizes, kid.size())
			}
			above = append(above, n)
		}
		level = above
	}
	t.root = level[0]
}

// parts cuts n things into as few parts of at most size as there must be, all
// of about the same size.
func parts(n, size int) [][2]int {
	count := (n + size - 1) / size
	cuts := make([][2]int, count)
	for i := range cuts {
		cuts[i] = [2]int{n * i / count, n * (i + 1) / count}
	}
	return cuts
}
