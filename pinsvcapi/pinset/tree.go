package pinset

import "sort"

// key is one entry of the index. A group is what a query looks up at once,
// such as "all pinned pins" or "all pinned pins of this name"; inside a group
// keys are in list order.
type key struct {
	group   uint64
	created int64
	slot    uint32
}

// fanout is how many keys a leaf, or children an inner node, may have: 64 keys
// are 1.5 KiB, a size that is cheap to shift and keeps a million keys within
// four levels.
const fanout = 64

// tree is a B+ tree that knows how many keys are below each child, so that the
// rank of a key and the key of a rank cost one descent. It is not safe for
// concurrent writers.
type tree struct {
	root *node
	// less is a strict total order of the keys.
	less func(a, b key) bool
}

// node is a leaf when it has no children.
type node struct {
	// keys are the keys of a leaf, or the smallest key below each child. It
	// must be one that is there: to compare keys is to look into their slots,
	// and the slot of one that was removed is free or another pin's.
	keys  []key
	kids  []*node
	sizes []int
}

func newTree(less func(a, b key) bool) *tree {
	return &tree{root: &node{}, less: less}
}

func (n *node) size() int {
	if n.kids == nil {
		return len(n.keys)
	}
	total := 0
	for _, s := range n.sizes {
		total += s
	}
	return total
}

// child returns the index of the child that k belongs to.
func (t *tree) child(n *node, k key) int {
	i := sort.Search(len(n.keys), func(i int) bool { return t.less(k, n.keys[i]) })
	return max(i-1, 0)
}

// position returns where in the leaf k is or would be.
func (t *tree) position(n *node, k key) int {
	return sort.Search(len(n.keys), func(i int) bool { return !t.less(n.keys[i], k) })
}

// insert adds k, which must not be there yet.
func (t *tree) insert(k key) {
	if right := t.insertInto(t.root, k); right != nil {
		left := t.root
		t.root = &node{
			keys:  []key{left.keys[0], right.keys[0]},
			kids:  []*node{left, right},
			sizes: []int{left.size(), right.size()},
		}
	}
}

// insertInto returns the node that was split off to the right of n, if any.
func (t *tree) insertInto(n *node, k key) *node {
	if n.kids == nil {
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
	right := t.insertInto(n.kids[i], k)
	if right == nil {
		n.sizes[i]++
		return nil
	}
	n.sizes[i] = n.kids[i].size()
	n.keys = insertAt(n.keys, i+1, right.keys[0])
	n.kids = insertAt(n.kids, i+1, right)
	n.sizes = insertAt(n.sizes, i+1, right.size())
	if len(n.kids) <= fanout {
		return nil
	}
	return n.split(i + 1)
}

// split moves the right part of n to a new node. Where the insertions come at
// one end, as they do when every new pin is the newest, the other part stays
// nearly full: otherwise half of the memory would stay empty.
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
	if n.kids != nil {
		right.kids = append([]*node(nil), n.kids[cut:]...)
		right.sizes = append([]int(nil), n.sizes[cut:]...)
		n.kids = append(make([]*node, 0, cut+1), n.kids[:cut]...)
		n.sizes = append(make([]int, 0, cut+1), n.sizes[:cut]...)
	}
	return right
}

// remove takes k out and reports whether it was there.
func (t *tree) remove(k key) bool {
	if !t.removeFrom(t.root, k) {
		return false
	}
	for len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
	return true
}

func (t *tree) removeFrom(n *node, k key) bool {
	if n.kids == nil {
		at := t.position(n, k)
		if at == len(n.keys) || n.keys[at] != k {
			return false
		}
		n.keys = append(n.keys[:at], n.keys[at+1:]...)
		return true
	}
	i := t.child(n, k)
	if !t.removeFrom(n.kids[i], k) {
		return false
	}
	n.sizes[i]--
	kid := n.kids[i]
	if len(kid.keys) > 0 { // An empty leaf goes away with the merge.
		n.keys[i] = kid.keys[0]
	}
	if len(kid.keys) < fanout/4 && len(n.kids) > 1 {
		n.merge(max(i-1, 0))
	}
	return true
}

// merge joins the children i and i+1, and splits them evenly again when one
// node cannot hold both.
func (n *node) merge(i int) {
	left, right := n.kids[i], n.kids[i+1]
	left.keys = append(left.keys, right.keys...)
	left.kids = append(left.kids, right.kids...)
	left.sizes = append(left.sizes, right.sizes...)
	n.keys[i] = left.keys[0]
	if len(left.keys) <= fanout*3/4 {
		n.sizes[i] += n.sizes[i+1]
		n.keys = append(n.keys[:i+1], n.keys[i+2:]...)
		n.kids = append(n.kids[:i+1], n.kids[i+2:]...)
		n.sizes = append(n.sizes[:i+1], n.sizes[i+2:]...)
		return
	}
	right = left.split(len(left.keys) / 2)
	n.keys[i+1], n.kids[i+1] = right.keys[0], right
	n.sizes[i], n.sizes[i+1] = left.size(), right.size()
}

// rank returns how many keys are less than k, which need not be there.
func (t *tree) rank(k key) int {
	rank := 0
	n := t.root
	for n.kids != nil {
		i := t.child(n, k)
		for _, s := range n.sizes[:i] {
			rank += s
		}
		n = n.kids[i]
	}
	return rank + t.position(n, k)
}

// appendRange appends the keys of the ranks from up to to, exclusive.
func (t *tree) appendRange(keys []key, from, to int) []key {
	if from >= to {
		return keys
	}
	return t.root.appendRange(keys, from, to)
}

func (n *node) appendRange(keys []key, from, to int) []key {
	if n.kids == nil {
		return append(keys, n.keys[max(from, 0):min(to, len(n.keys))]...)
	}
	for i, s := range n.sizes {
		if from < s {
			keys = n.kids[i].appendRange(keys, from, to)
		}
		from, to = from-s, to-s
		if to <= 0 {
			break
		}
	}
	return keys
}

func insertAt[T any](s []T, i int, v T) []T {
	var zero T
	s = append(s, zero)
	copy(s[i+1:], s[i:])
	s[i] = v
	return s
}
