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
	merging   bool              // what is written is merged now
	merged    bool              // the set may have it
	left      leftovers         // of the tries before
	other     bool              // its block was refused, as another one is to be undone first
	dropped   bool              // what the tries before have left to be deleted is deleted
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

// begin notes that a block is written.
func (e *Effects) begin(block string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun, e.completed, e.durable, e.merged, e.block = true, false, false, false, block
}

// wrote reports whether a block is the last one that this commit has written.
func (e *Effects) wrote(block string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.block == block
}

// merge notes that the state may be changed, or is.
func (e *Effects) merge(done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun, e.merged = true, e.merged || done
}

func (e *Effects) setMerging(merging bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.merging = merging
}

// isMerging reports whether go-ds-crdt merges a block, and so looks for what is left of keys, and not
// for what it is to remove: only for the former does it make a batch before.
func (e *Effects) isMerging() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.merging
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
	undone = e.left.abandoned(e.block)
	e.synced, e.durable, e.left = nil, true, leftovers{tombs: e.left.tombs}
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
