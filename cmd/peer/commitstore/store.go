// Package commitstore decorates the datastore of the cluster's CRDT for the commits of this peer
// (D12): a commit is on the disk before its block is announced to other peers, and what it did to
// the state is known.
//
// go-ds-crdt passes the context of a commit down to each write, so a commit of this peer is known
// by its context (Watch). The merges of what other peers wrote have none, and are not synced here: the
// store below has them on the disk before they are shown (U90 in docs/upstream-faults.md).
package commitstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

var log = logging.Logger("commitstore")

// The namespaces of ipfs-lite and go-ds-crdt v0.6.8 within that of the CRDT: crdt.go and set.go.
const (
	blocksPath   = "b/blocks" // what the blockstore keeps
	headsPath    = "h"
	elementsPath = "s/s"
	tombsPath    = "s/t"
	valuesPath   = "s/k"
	valueSuffix  = "/v"
)

// Store decorates a datastore. It is safe for concurrent use, as far as the datastore is.
type Store struct {
	datastore.Batching
	opts                                   Options
	blocks, heads, elements, tombs, values string       // prefixes, with a slash at the end
	open                                   sync.RWMutex // held by each call for reading
	closed                                 bool
}

// Options are the settings of a Store.
type Options struct {
	// Synced is called with the duration of each sync. It may be nil.
	Synced func(time.Duration)
	// Quiet reports whether nothing but the block with that ID is in the store and not merged.
	// nil: it is not known.
	Quiet func(id string) bool
	// Abandoned is called with the IDs of blocks of commits that failed which are deleted, or were made
	// anew, in other blocks, which are on the disk. It may be nil.
	Abandoned func(ctx context.Context, ids []string)
	// Values is whether the datastore gives a key of which elements are removed the value of what is
	// left by itself. go-ds-crdt is then shown nothing that is left: it would read the blocks of that over
	// the network, for as long as nobody has them (U100 in docs/upstream-faults.md).
	Values bool
	// Without returns the value that a key would have without the elements of some blocks, nil for none.
	// If it is nil, what failed commits have left is not told from what others wrote.
	Without func(ctx context.Context, key string, ids []string) ([]byte, error)
}

// New decorates the datastore of a CRDT with that namespace.
func New(inner datastore.Batching, namespace string, opts Options) *Store {
	root := datastore.NewKey(namespace)
	prefix := func(path string) string { return root.ChildString(path).String() + "/" }
	if opts.Synced == nil {
		opts.Synced = func(time.Duration) {}
	}
	if opts.Quiet == nil {
		opts.Quiet = func(string) bool { return false }
	}
	if opts.Abandoned == nil {
		opts.Abandoned = func(context.Context, []string) {}
	}
	return &Store{
		Batching: inner, opts: opts, blocks: prefix(blocksPath), heads: prefix(headsPath),
		elements: prefix(elementsPath), tombs: prefix(tombsPath), values: prefix(valuesPath),
	}
}

// Put implements datastore.Write.
func (s *Store) Put(ctx context.Context, key datastore.Key, value []byte) error {
	effects := effectsOf(ctx)
	name := key.String()
	switch {
	case effects == nil:
	case strings.HasPrefix(name, s.blocks):
		if err := s.beginBlock(ctx, effects, strings.TrimPrefix(name, s.blocks)); err != nil {
			return err
		}
	case strings.HasPrefix(name, s.heads):
		if err := s.addHead(ctx, key, value); err != nil {
			effects.fail(err)
			log.Warnf("a head of the CRDT, of which the other peers are told, is not on the disk: %s", err)
		}
		return nil
	}
	return s.use(func() error { return s.Batching.Put(ctx, key, value) })
}

// addHead writes the head of a block none of whose parents is one any more. go-ds-crdt only logs that
// it failed, tells the other peers of the block all the same, and forgets the delta (U102 in
// docs/upstream-faults.md). So it is not shown the error: the block stays a head in memory, and the next
// commit leads to it.
func (s *Store) addHead(ctx context.Context, key datastore.Key, value []byte) error {
	b, err := s.Batch(ctx)
	if err != nil {
		return err
	}
	if err := b.Put(ctx, key, value); err != nil {
		return err
	}
	return b.Commit(ctx)
}

// Batch implements datastore.Batching.
func (s *Store) Batch(ctx context.Context) (datastore.Batch, error) {
	var inner datastore.Batch
	err := s.use(func() (err error) {
		inner, err = s.Batching.Batch(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	b := plainBatch{inner, s}
	effects := effectsOf(ctx)
	if effects == nil {
		return b, nil
	}
	effects.setMerging(true)
	return &batch{Batch: b, store: s, effects: effects, values: make(map[string]groupcommit.Effect)}, nil
}

// sync has everything that was written before on the disk when it returns, which upstream leaves to
// the datastore (U5 in docs/upstream-faults.md).
func (s *Store) sync(ctx context.Context) error {
	began := time.Now()
	if err := s.Sync(ctx, datastore.NewKey("/")); err != nil {
		return fmt.Errorf("write the commit to the disk: %w", err)
	}
	s.opts.Synced(time.Since(began))
	return nil
}

// Has implements datastore.Read. go-ds-crdt asks for each element of a new block whether a tomb
// names it. What names a block follows it, so that has to wait for a block of this peer that has
// only just been written, unless it is in a branch that is being walked: the same change can have
// been made at another peer.
func (s *Store) Has(ctx context.Context, key datastore.Key) (exists bool, err error) {
	if effects := effectsOf(ctx); effects != nil {
		if strings.HasPrefix(key.String(), s.tombs) {
			if id := key.BaseNamespace(); effects.wrote(id) && s.opts.Quiet(id) {
				return false, nil
			}
			if ctx.Value(undoKey{}) != nil && !effects.isMerging() {
				return false, nil // It is put into the delta once: see listUndone.
			}
		} else if name, ok := s.valueOf(key.String()); ok {
			return s.hasValue(ctx, key, effects, name)
		}
	}
	err = s.use(func() (err error) {
		exists, err = s.Batching.Has(ctx, key)
		return err
	})
	return exists, err
}

// plainBatch is a batch of whatever else writes.
type plainBatch struct {
	datastore.Batch
	store *Store
}

// Commit implements datastore.Batch.
func (b plainBatch) Commit(ctx context.Context) error {
	return b.store.use(func() error { return b.Batch.Commit(ctx) })
}

// batch is a batch of a commit of this peer.
type batch struct {
	datastore.Batch
	store   *Store
	effects *Effects

	values         map[string]groupcommit.Effect // by the CRDT's key
	members        []datastore.Key               // elements and tombs
	head, elements bool
}

// Put implements datastore.Batch.
func (b *batch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	switch name := key.String(); {
	case strings.HasPrefix(name, b.store.heads):
		b.head = true
	case strings.HasPrefix(name, b.store.elements):
		b.elements = true
		b.members = append(b.members, key)
	case strings.HasPrefix(name, b.store.tombs):
		b.members = append(b.members, key)
	default:
		b.note(name, groupcommit.EffectAdded)
	}
	return b.Batch.Put(ctx, key, value)
}

// Delete implements datastore.Batch.
func (b *batch) Delete(ctx context.Context, key datastore.Key) error {
	b.note(key.String(), groupcommit.EffectRemoved)
	return b.Batch.Delete(ctx, key)
}

func (b *batch) note(name string, effect groupcommit.Effect) {
	if key, ok := b.store.valueOf(name); ok {
		b.values[key] = effect
	}
}

// valueOf returns the CRDT's key whose value a key of the datastore is.
func (s *Store) valueOf(name string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(s.values, "/"))
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, valueSuffix)
}

// Commit implements datastore.Batch. The head is the last thing that a commit writes: with it the
// commit is complete, and is synced before it is announced.
func (b *batch) Commit(ctx context.Context) error {
	err := b.commit(ctx)
	b.effects.setMerging(false)
	if err != nil {
		b.effects.fail(err)
	}
	return err
}

func (b *batch) commit(ctx context.Context) (failed error) {
	complete := b.head && b.effects.complete()
	if merges := len(b.values)+len(b.members) > 0; merges {
		b.effects.merge(false)
		defer func() { b.effects.merge(b.isMerged(ctx, failed)) }()
	}
	if err := b.Batch.Commit(ctx); err != nil {
		if b.head && b.effects.Synced() {
			// The commit is reachable by its first head, on the disk, and answered. The head that stays
			// beside it is one of its ancestors, which the next commit joins (U95 in docs/upstream-faults.md).
			log.Warnf("a head of the CRDT stays beside the block that replaces it: %s", err)
			return nil
		}
		return err
	}
	if err := b.lookWhatIsLeft(ctx); err != nil {
		return err
	}
	// A value that a batch without elements wrote is one that survives a removal.
	b.effects.enter(b.values, b.elements)
	if !complete {
		return nil
	}
	if err := b.store.sync(ctx); err != nil {
		return err
	}
	if undone := b.effects.tellSynced(); len(undone) > 0 {
		b.store.opts.Abandoned(ctx, undone)
	}
	return nil
}

// lookWhatIsLeft notes the values that survive a removal.
func (b *batch) lookWhatIsLeft(ctx context.Context) error {
	if !b.store.opts.Values {
		return nil
	}
	for key, effect := range b.values {
		if effect != groupcommit.EffectRemoved {
			continue
		}
		there, err := b.store.has(ctx, datastore.RawKey(strings.TrimSuffix(b.store.values, "/")+key+valueSuffix))
		if err != nil {
			return fmt.Errorf("look what is left of a removed key: %w", err)
		}
		if there {
			b.values[key] = groupcommit.EffectKept
		}
	}
	return nil
}

// isMerged reports whether elements or tombs of a batch may be in the set, also after a failure.
func (b *batch) isMerged(ctx context.Context, failed error) bool {
	if failed == nil {
		return true
	}
	for _, key := range b.members {
		if has, err := b.store.has(ctx, key); err != nil || has {
			return true
		}
	}
	return false
}
