package pinset

import "sort"

// key is one key of the index. A group is what a query reads at once, such as
// "all pinned pins" or "all pinned pins of this name"; inside a group keys are
// in list order.
type key struct {
	group   uint64
	created int64
	slot    uint32
}

// fanout is how many keys a leaf, or children an inner node, may have: 64 keys
// are 1.5 KiB, which is cheap to shift and keeps a million keys within four
// levels.
const fanout = 64

// rankTree is a B+ tree that knows how many keys are below each child, so that
// the rank of a key and the key of a rank cost one descent. It is written by
// hand because exact counts under "before" need ranks, which the well-kept B-tree
// libraries (google/btree, tidwall/btree) do not have. It is not safe for
// concurrent writers.
type rankTree struct {
	root *node
	// less is a strict total order of the keys.
	less func(a, b key) bool
}

// node is a leaf when it has no children.
type node struct {
	// keys are the keys of a leaf, or the smallest key below each child. Each
	// must be a key that is in the tree: comparing keys reads their slots, and
	// the slot of a removed key is free or holds another pin.
	keys     []key
	children []*node
	sizes    []int
}

func newRankTree(less func(a, b key) bool) *rankTree {
	return &rankTree{root: &node{}, less: less}
}

func (n *node) size() int {
	if n.children == nil {
		return len(n.keys)
	}
	total := 0
	for _, s := range n.sizes {
		total += s
	}
	return total
}

// child returns the index of the child that k belongs to.
func (t *rankTree) child(n *node, k key) int {
	i := sort.Search(len(n.keys), func(i int) bool { return t.less(k, n.keys[i]) })
	return max(i-1, 0)
}

// position returns the index in a leaf at which k is or would be.
func (t *rankTree) position(n *node, k key) int {
	return sort.Search(len(n.keys), func(i int) bool { return !t.less(n.keys[i], k) })
}

func (t *rankTree) contains(k key) bool {
	n := t.root
	for n.children != nil {
		n = n.children[t.child(n, k)]
	}
	at := t.position(n, k)
	return at < len(n.keys) && n.keys[at] == k
}

// insert adds k, which must not be in the tree yet.
func (t *rankTree) insert(k key) {
	if right := t.insertInto(t.root, k); right != nil {
		left := t.root
		t.root = &node{
			keys:     []key{left.keys[0], right.keys[0]},
			children: []*node{left, right},
			sizes:    []int{left.size(), right.size()},
		}
	}
}

// insertInto returns the node that was split off to the right of n, if any.
func (t *rankTree) insertInto(n *node, k key) *node {
	if n.children == nil {
		at := t.position(n, k)
		n.keys = insertAt(n.keys, at, k)
		if len(n.keys) <= fanout {
			return nil
		}
		return n.split(at)
	}
	i := t.child(n, k)
	if t.less(k, n.keys[i]) {
		n.keys[i] = k
	}
	right := t.insertInto(n.children[i], k)
	if right == nil {
		n.sizes[i]++
		return nil
	}
	n.sizes[i] = n.children[i].size()
	n.keys = insertAt(n.keys, i+1, right.keys[0])
	n.children = insertAt(n.children, i+1, right)
	n.sizes = insertAt(n.sizes, i+1, right.size())
	if len(n.children) <= fanout {
		return nil
	}
	return n.split(i + 1)
}

// split moves the right part of n to a new node; at is where n has just grown.
// When keys are added at one end, as every new pin is the newest, the node at
// the other side of the cut stays nearly full: else half of the memory would
// stay empty.
func (n *node) split(at int) *node {
	cut := len(n.keys) / 2
	switch {
	case at <= 1:
		cut = len(n.keys) / 8
	case at >= len(n.keys)-2:
		cut = len(n.keys) * 7 / 8
	}
	right := &node{keys: append([]key(nil), n.keys[cut:]...)}
	n.keys = append(make([]key, 0, cut+1), n.keys[:cut]...)
	if n.children != nil {
		right.children = append([]*node(nil), n.children[cut:]...)
		right.sizes = append([]int(nil), n.sizes[cut:]...)
		n.children = append(make([]*node, 0, cut+1), n.children[:cut]...)
		n.sizes = append(make([]int, 0, cut+1), n.sizes[:cut]...)
	}
	return right
}

// remove takes k out and reports whether it was in the tree.
func (t *rankTree) remove(k key) bool {
	if !t.removeFrom(t.root, k) {
		return false
	}
	for len(t.root.children) == 1 {
		t.root = t.root.children[0]
	}
	return true
}

func (t *rankTree) removeFrom(n *node, k key) bool {
	if n.children == nil {
		at := t.position(n, k)
		if at == len(n.keys) || n.keys[at] != k {
			return false
		}
		n.keys = append(n.keys[:at], n.keys[at+1:]...)
		return true
	}
	i := t.child(n, k)
	if !t.removeFrom(n.children[i], k) {
		return false
	}
	n.sizes[i]--
	child := n.children[i]
	if len(child.keys) > 0 { // An empty leaf is removed by the merge.
		n.keys[i] = child.keys[0]
	}
	if len(child.keys) < fanout/4 && len(n.children) > 1 {
		n.merge(max(i-1, 0))
	}
	return true
}

// merge joins the children i and i+1, and splits them evenly again when one
// node cannot hold both.
func (n *node) merge(i int) {
	left, right := n.children[i], n.children[i+1]
	left.keys = append(left.keys, right.keys...)
	left.children = append(left.children, right.children...)
	left.sizes = append(left.sizes, right.sizes...)
	n.keys[i] = left.keys[0]
	if len(left.keys) <= fanout*3/4 {
		n.sizes[i] += n.sizes[i+1]
		n.keys = append(n.keys[:i+1], n.keys[i+2:]...)
		n.children = append(n.children[:i+1], n.children[i+2:]...)
		n.sizes = append(n.sizes[:i+1], n.sizes[i+2:]...)
		return
	}
	right = left.split(len(left.keys) / 2)
	n.keys[i+1], n.children[i+1] = right.keys[0], right
	n.sizes[i], n.sizes[i+1] = left.size(), right.size()
}

// rank returns how many keys are less than k, which need not be in the tree.
func (t *rankTree) rank(k key) int {
	rank := 0
	n := t.root
	for n.children != nil {
		i := t.child(n, k)
		for _, s := range n.sizes[:i] {
			rank += s
		}
		n = n.children[i]
	}
	return rank + t.position(n, k)
}

// appendRange appends the keys of the ranks from up to to, exclusive.
func (t *rankTree) appendRange(keys []key, from, to int) []key {
	if from >= to {
		return keys
	}
	return t.root.appendRange(keys, from, to)
}

func (n *node) appendRange(keys []key, from, to int) []key {
	if n.children == nil {
		return append(keys, n.keys[max(from, 0):min(to, len(n.keys))]...)
	}
	for i, s := range n.sizes {
		if from < s {
			keys = n.children[i].appendRange(keys, from, to)
		}
		from, to = from-s, to-s
		if to <= 0 {
			break
		}
	}
	return keys
}

// build fills an empty tree with sorted keys. It leaves a little room in the
// nodes, so that the first changes do not split them all.
func (t *rankTree) build(keys []key) {
	const full = fanout * 7 / 8
	if len(keys) == 0 {
		return
	}
	var level []*node
	for _, c := range chunks(len(keys), full) {
		level = append(level, &node{keys: append(make([]key, 0, c.to-c.from+1), keys[c.from:c.to]...)})
	}
	for len(level) > 1 {
		var above []*node
		for _, c := range chunks(len(level), full) {
			n := &node{}
			for _, child := range level[c.from:c.to] {
				n.keys = append(n.keys, child.keys[0])
				n.children = append(n.children, child)
				n.sizes = append(n.sizes, child.size())
			}
			above = append(above, n)
		}
		level = above
	}
	t.root = level[0]
}

type chunk struct{ from, to int }

// chunks cuts n things into the smallest number of chunks of at most size, all
// of about the same length.
func chunks(n, size int) []chunk {
	count := (n + size - 1) / size
	cuts := make([]chunk, count)
	for i := range cuts {
		cuts[i] = chunk{n * i / count, n * (i + 1) / count}
	}
	return cuts
}

func insertAt[T any](s []T, i int, v T) []T {
	var zero T
	s = append(s, zero)
	copy(s[i+1:], s[i:])
	s[i] = v
	return s
}
