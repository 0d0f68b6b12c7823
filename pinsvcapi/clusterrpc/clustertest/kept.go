package clustertest

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
)

// keptPins are recursive pins that a node had from the start, in 8 bytes each.
type keptPins struct {
	cids   iter.Seq[cid.Cid]
	seed   maphash.Seed
	hashes []uint64 // of all of them, sorted
	// dropped are those that the node has no longer.
	dropped map[cid.Cid]struct{}
}

// Keep lets the node hold content, pinned recursively, for which it received no
// pin request while the test ran. It can be called once, and ranges over cids again and
// again, whenever all pins are listed.
func (n *Node) Keep(cids iter.Seq[cid.Cid]) {
	k := &keptPins{cids: cids, seed: maphash.MakeSeed(), dropped: make(map[cid.Cid]struct{})}
	for c := range cids {
		k.hashes = append(k.hashes, k.hash(c))
	}
	slices.Sort(k.hashes)
	k.hashes = slices.Clip(k.hashes)
	n.change(func() { n.kept = k })
}

func (k *keptPins) hash(c cid.Cid) uint64 { return maphash.String(k.seed, c.KeyString()) }

// has needs the lock of the node, as the other methods; k may be nil.
func (k *keptPins) has(c cid.Cid) bool {
	if k == nil {
		return false
	}
	if _, dropped := k.dropped[c]; dropped {
		return false
	}
	_, found := slices.BinarySearch(k.hashes, k.hash(c))
	return found
}

func (k *keptPins) drop(c cid.Cid) {
	if k.has(c) {
		k.dropped[c] = struct{}{}
	}
}

// all are those that the node has now.
func (k *keptPins) all() iter.Seq[cid.Cid] {
	if k == nil {
		return func(func(cid.Cid) bool) {}
	}
	dropped := maps.Clone(k.dropped)
	return func(yield func(cid.Cid) bool) {
		for c := range k.cids {
			if _, gone := dropped[c]; gone {
				continue
			}
			if !yield(c) {
				return
			}
		}
	}
}
