package crdtstore

import (
	"context"
	"time"

	"github.com/ipfs/go-datastore"
)

// go-ds-crdt merges what a block removes, calls its delete hook, and then merges what the block adds. A change
// that the state would ignore is made as both in one block (U51), so that in between the pin seems to be gone,
// at every peer that merges it. Blocks are known here from when they are stored, or read for their merge, until they
// are merged, so that nobody takes that for a removal (U13 in docs/upstream-faults.md).

const (
	// maxArrived bounds the bytes of these blocks: more than are merged at once. Where there are more, all
	// are forgotten.
	maxArrived = 32 << 20
	// replacedWait is how long a reader waits for the rest of a block, which follows at once on a disk that
	// works.
	replacedWait = 500 * time.Millisecond
)

// arrivedBlocks are the blocks that were stored and are not processed yet, by their IDs. The lock of the
// walks guards them.
type arrivedBlocks struct {
	blocks map[string]*arrival
	bytes  int
}

// arrival is one of them.
type arrival struct {
	data     []byte
	replaces map[string]bool // the keys of which it removes elements and adds one; nil: it was not asked yet
	ended    chan struct{}   // closed when it is none of them any more
}

func (a *arrivedBlocks) add(id string, data []byte) {
	if _, ok := a.blocks[id]; ok {
		return // Who waits for it goes on waiting.
	}
	if a.bytes+len(data) > maxArrived {
		for other := range a.blocks {
			a.remove(other)
		}
	}
	if a.blocks == nil {
		a.blocks = make(map[string]*arrival)
	}
	a.blocks[id] = &arrival{data: data, ended: make(chan struct{})}
	a.bytes += len(data)
}

func (a *arrivedBlocks) remove(id string) {
	if b, ok := a.blocks[id]; ok {
		a.bytes -= len(b.data)
		delete(a.blocks, id)
		close(b.ended)
	}
}

func (a *arrivedBlocks) data(id string) []byte {
	if b, ok := a.blocks[id]; ok {
		return b.data
	}
	return nil
}

// replacing returns a block that replaces a key, or nil.
func (a *arrivedBlocks) replacing(key string) *arrival {
	for _, b := range a.blocks {
		if b.replaces == nil {
			b.replaces = replacedKeys(b.data)
		}
		if b.replaces[key] {
			return b
		}
	}
	return nil
}

// replacedKeys are the keys of which a block removes elements and adds one: none of what is no block.
func replacedKeys(data []byte) map[string]bool {
	keys := make(map[string]bool)
	b, err := decodeBlock(data)
	if err != nil || len(b.delta.GetElements()) == 0 {
		return keys
	}
	removed := make(map[string]bool)
	for _, e := range b.delta.GetTombstones() {
		removed[e.GetKey()] = true
	}
	for _, e := range b.delta.GetElements() {
		if removed[e.GetKey()] {
			keys[datastore.NewKey(e.GetKey()).String()[1:]] = true
		}
	}
	return keys
}

// noteRead is called with a block that is read, mostly to be merged. One that is not merged yet and was stored
// by an earlier process, or was forgotten, is known from now on.
func (s *Store) noteRead(id string, data []byte) {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	_, open := s.walks.open[id]
	if open || s.walks.roots[id].number > 0 {
		s.walks.arrived.add(id, data)
	}
}

// Replaces reports whether a block that is not merged to its end removes elements of a key and adds one. It
// does not wait for the disk.
func (s *Store) Replaces(key string) bool { return s.replacing(key) != nil }

func (s *Store) replacing(key string) *arrival {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	return s.walks.arrived.replacing(key)
}

// awaitReplaced is called when the value of a key was not found, which is to be shown. It reports whether it
// has waited for a block that replaces the key, so that the value is to be read again.
func (s *Store) awaitReplaced(ctx context.Context, key datastore.Key) bool {
	if !isShown(ctx) {
		return false
	}
	what, name, _ := s.keys.classify(key)
	if what != valueKind {
		return false
	}
	b := s.replacing(name)
	if b == nil {
		return false
	}
	limit := time.NewTimer(replacedWait)
	defer limit.Stop()
	select {
	case <-b.ended:
	case <-limit.C:
	case <-ctx.Done():
	}
	return true
}
