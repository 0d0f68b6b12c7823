package clusterrpc

import (
	"context"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// List returns one page of the pins that match q, from the view. While the
// view is filled it waits for a moment.
func (b *Backend) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.PinResults, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.ListTimeout)
	defer cancel()
	if err := b.filled(ctx); err != nil {
		return pinsvc.PinResults{}, err
	}
	for key := range q.Meta {
		if isReserved(key) {
			return pinsvc.PinResults{}, nil // No client has such a pair.
		}
	}
	b.freshen(ctx)
	page, err := b.view.Page(ctx, &q)
	if err != nil {
		return pinsvc.PinResults{}, failure(err, "list the pins")
	}
	results := pinsvc.PinResults{Count: page.Count, Results: make([]pinsvc.PinStatus, len(page.Pins))}
	for i, p := range page.Pins {
		if results.Results[i], err = b.present(ctx, p); err != nil {
			return pinsvc.PinResults{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return pinsvc.PinResults{}, failure(err, "list the pins")
	}
	return results, nil
}

// filled waits until the view is, but not for long.
func (b *Backend) filled(ctx context.Context) error {
	select {
	case <-b.condition.reached:
		return nil
	default:
	}
	timer := time.NewTimer(b.opts.FillWait)
	defer timer.Stop()
	select {
	case <-b.condition.reached:
		return nil
	case <-timer.C:
		return b.Ready()
	case <-ctx.Done():
		return failure(ctx.Err(), "list the pins")
	}
}
