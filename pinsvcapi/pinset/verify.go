package pinset

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Verify compares the index and the counts with the rows, and returns the first
// difference. It is meant for tests and for debugging: it takes seconds for a
// million pins, in which no pin can change.
func (v *View) Verify() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.loading {
		return nil // There is no index yet.
	}
	sizes := make(map[*rankTree]int)
	var counts = v.counts
	n := 0
	for slot := range v.used {
		r := v.at(slot)
		if r.status == 0 {
			continue
		}
		n++
		counts[r.status]--
		if err := v.verifyRow(slot, r, sizes); err != nil {
			return err
		}
	}
	for status, left := range counts {
		if left != 0 {
			return fmt.Errorf("the count of status %d is wrong by %d", status, left)
		}
	}
	if n != v.n {
		return fmt.Errorf("the view has %d rows and counts %d", n, v.n)
	}
	for i, t := range v.index.trees() {
		if err := t.verify(); err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
		if size := t.root.size(); size != sizes[t] {
			return fmt.Errorf("tree %d has %d keys, want %d", i, size, sizes[t])
		}
	}
	return nil
}

// verifyRow checks that a row can be found, by its CID and by each of its keys,
// which it counts in sizes.
func (v *View) verifyRow(slot uint32, r *row, sizes map[*rankTree]int) error {
	c, err := cid.Cast([]byte(r.cidKey()))
	if err != nil {
		return fmt.Errorf("slot %d: %w", slot, err)
	}
	if at, ok := v.find(c); !ok || at != slot {
		return fmt.Errorf("%s is in slot %d and found in slot %d", c, slot, at)
	}
	v.index.keysOf(slot, r, func(t *rankTree, k key) {
		sizes[t]++
		if !t.contains(k) {
			err = fmt.Errorf("%s: key %v is missing", c, k)
		}
	})
	return err
}

// verify checks the order of the keys and the bookkeeping of the nodes.
func (t *rankTree) verify() error {
	keys := t.root.appendRange(nil, 0, t.root.size())
	for i := 1; i < len(keys); i++ {
		if !t.less(keys[i-1], keys[i]) {
			return fmt.Errorf("key %v is before %v", keys[i-1], keys[i])
		}
	}
	return t.root.verify()
}

func (n *node) verify() error {
	if len(n.keys) > fanout {
		return fmt.Errorf("a node has %d keys", len(n.keys))
	}
	if n.children == nil {
		return nil
	}
	if len(n.children) != len(n.keys) || len(n.sizes) != len(n.keys) {
		return errors.New("children, sizes and keys differ in number")
	}
	for i, child := range n.children {
		switch {
		case len(child.keys) < fanout/8:
			return fmt.Errorf("a child has only %d keys", len(child.keys))
		case child.keys[0] != n.keys[i]:
			return errors.New("the key of a child is not its smallest")
		case child.size() != n.sizes[i]:
			return fmt.Errorf("a child has %d keys, not %d", child.size(), n.sizes[i])
		}
		if err := child.verify(); err != nil {
			return err
		}
	}
	return nil
}
