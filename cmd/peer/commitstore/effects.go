package commitstore

import (
	"context"
	"sync"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// Effects are what one commit of this peer did.
type Effects struct {
	mu        sync.Mutex
	begun     bool
	completed bool
	durable   bool              // the last block is on the disk, with what leads to it
	block     string            // the ID of the last one that was written
	blocks    []string          // those that are not durable, by a failed commit
	undone    []string          // blocks of failed commits that this one undoes
	before    map[string][]byte // values before the commit, by the CRDT's key; nil: none
	failed    error
	synced    func()
	values    map[string]groupcommit.Effect
}

var _ groupcommit.Effects = (*Effects)(nil)

type effectsKey struct{}

// Watch returns a context for one commit, and its effects.
func Watch(ctx context.Context) (context.Context, groupcommit.Effects) {
	effects := &Effects{values: make(map[string]groupcommit.Effect), before: make(map[string][]byte)}
	return context.WithValue(ctx, effectsKey{}, effects), effects
}

// Watched reports whether a context is of a commit of this peer.
func Watched(ctx context.Context) bool { return effectsOf(ctx) != nil }

func effectsOf(ctx context.Context) *Effects {
	effects, _ := ctx.Value(effectsKey{}).(*Effects)
	return effects
}

// begin notes that a block is written, which was not in the store.
func (e *Effects) begin(block string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun, e.completed, e.durable, e.block = true, false, false, block
	e.blocks = append(e.blocks, block)
}

// wrote reports whether a block is the last one that this commit has written.
func (e *Effects) wrote(block string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.block == block
}

// merge notes that the state may be changed.
func (e *Effects) merge() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = true
}

// complete reports whether this is the first write of a head for the block. A block that joins
// several heads replaces each of them by itself; the first makes it reachable.
func (e *Effects) complete() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := !e.completed
	e.completed = true
	return first
}

func (e *Effects) enter(values map[string]groupcommit.Effect, elements bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, effect := range values {
		if effect == groupcommit.EffectAdded && !elements {
			effect = groupcommit.EffectKept
		}
		e.values[key] = effect
	}
}

// Begun implements groupcommit.Effects.
func (e *Effects) Begun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begun
}

// Synced implements groupcommit.Effects.
func (e *Effects) Synced() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.durable
}

// Of implements groupcommit.Effects.
func (e *Effects) Of(key api.Cid) groupcommit.Effect {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.values[dshelp.NewKeyFromBinary(key.Bytes()).String()]
}

// OnSynced implements groupcommit.Effects.
func (e *Effects) OnSynced(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.synced = f
}

// tellSynced notes that the block is on the disk, and calls what OnSynced was given. It returns the
// blocks of failed commits that are undone by that.
func (e *Effects) tellSynced() (undone []string) {
	e.mu.Lock()
	f := e.synced
	e.synced, e.durable, e.blocks = nil, true, nil
	undone, e.undone = e.undone, nil
	e.mu.Unlock()
	if f != nil {
		f()
	}
	return undone
}

// fail notes the first error.
func (e *Effects) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed == nil {
		e.failed = err
	}
}

// Err implements groupcommit.Effects: go-ds-crdt only logs some failures to write a head.
func (e *Effects) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}
