package tracking

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
)

// State is the shared state for upstream's tracker. That stops to read a list of the pins when its context
// ends, and the list blocks in its send then, with all that it has open in the datastore (U24 in
// docs/upstream-faults.md). This one ends with its context.
func State(shared func(context.Context) (state.ReadOnly, error)) func(context.Context) (state.ReadOnly, error) {
	return func(ctx context.Context) (state.ReadOnly, error) {
		st, err := shared(ctx)
		if err != nil {
			return nil, err
		}
		return endingState{st}, nil
	}
}

type endingState struct{ state.ReadOnly }

// List implements state.ReadOnly.
func (s endingState) List(ctx context.Context, out chan<- api.Pin) error {
	defer close(out)
	pins, failed := make(chan api.Pin, cap(out)), make(chan error, 1)
	go func() { failed <- s.ReadOnly.List(ctx, pins) }()
	for pin := range pins { // It looks at the context before each.
		select {
		case out <- pin:
		case <-ctx.Done():
		}
	}
	return <-failed
}
