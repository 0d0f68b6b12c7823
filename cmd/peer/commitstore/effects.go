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
	mu             sync.Mutex
	begun, merging bool
	completed      bool
	failed         error
	values         map[string]groupcommit.Effect
}

var _ groupcommit.Effects = (*Effects)(nil)

type effectsKey struct{}

// Watch returns a context for one commit, and its effects.
func Watch(ctx context.Context) (context.Context, groupcommit.Effects) {
	effects := &Effects{values: make(map[string]groupcommit.Effect)}
	return context.WithValue(ctx, effectsKey{}, effects), effects
}

func effectsOf(ctx context.Context) *Effects {
	effects, _ := ctx.Value(effectsKey{}).(*Effects)
	return effects
}

// begin notes that a block is written.
func (e *Effects) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun, e.completed = true, false
}

// merge notes that the state may be changed.
func (e *Effects) merge() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun, e.merging = true, true
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

// Merging implements groupcommit.Effects.
func (e *Effects) Merging() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.merging
}

// Of implements groupcommit.Effects.
func (e *Effects) Of(key api.Cid) groupcommit.Effect {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.values[dshelp.NewKeyFromBinary(key.Bytes()).String()]
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
