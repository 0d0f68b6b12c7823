package clusterrpc

import (
	"context"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// List returns one page of the pins that match q, from the view. While the
// view is filled it waits for a moment.
func (b *Backend) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	if err := b.Wait(ctx); err != nil {
		return pinsvc.Page{}, err
	}
	if scans(q) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.opts.ListTimeout)
		defer cancel()
	}
	for key := range q.Meta {
		if isReserved(key) {
			return pinsvc.Page{}, nil // No client has such a pair.
		}
	}
	b.freshen(ctx)
	found, err := b.view.Page(ctx, &q)
	if err != nil {
		return pinsvc.Page{}, failure(err, "list the pins")
	}
	page := pinsvc.Page{Count: found.Count, Rows: make([]pinsvc.Row, len(found.Entries))}
	shared := sharedParts{backend: b}
	for i := range found.Entries {
		if page.Rows[i], err = shared.row(ctx, &found.Entries[i]); err != nil {
			return pinsvc.Page{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return pinsvc.Page{}, failure(err, "list the pins")
	}
	return page, nil
}

// scans reports whether a query looks at every pin.
func scans(q pinsvc.Query) bool {
	return len(q.Meta) > 0 || q.Name != "" && (q.Match == pinsvc.MatchPartial || q.Match == pinsvc.MatchIPartial)
}

// sharedParts makes the rows of one page. The pins of a page mostly have the
// same holders, which say the same of them; what follows from that is looked
// up once for a run of such pins.
type sharedParts struct {
	backend            *Backend
	placement, reports uint32
	verdict            *verdict // nil before the first row
	delegates          pinsvc.RawJSON
}

func (s *sharedParts) row(ctx context.Context, e *pinset.Entry) (pinsvc.Row, error) {
	if s.verdict == nil || s.placement != e.Placement || s.reports != e.Vector {
		s.placement, s.reports = e.Placement, e.Vector
		s.verdict = s.backend.places.show(e.Placement, e.Vector)
		s.delegates = s.backend.delegatesAt(ctx, e.Placement).rendered
	}
	if e.Origins != 0 || e.ExpiresAt != 0 || e.AskedOtherForm || s.verdict.troubled || e.Status == pinsvc.StatusQueued || s.backend.resubmitted(e.Key) {
		return s.backend.rowApart(ctx, e)
	}
	return pinsvc.Row{
		Key: e.Key, CID: e.Key, Status: e.Status, Created: e.Created, Name: e.Name, Meta: e.Meta,
		Delegates: s.delegates, Info: s.verdict.rendered,
	}, nil
}

// resubmitted reports whether a write to the key had to be submitted again.
func (b *Backend) resubmitted(key string) bool {
	if !b.pending.some() {
		return false
	}
	c, ok := keyOf(key)
	if !ok {
		return false
	}
	again, _ := b.pending.waits(c)
	return again > 0
}

// rowApart makes a row of which there is more to say.
func (b *Backend) rowApart(ctx context.Context, e *pinset.Entry) (pinsvc.Row, error) {
	p, err := e.Pin()
	if err != nil {
		return pinsvc.Row{}, failure(err, "list the pins")
	}
	st, err := b.present(ctx, p)
	if err != nil {
		return pinsvc.Row{}, err
	}
	return pinsvc.RowOf(st)
}

// Wait is Ready for a request that can wait: while the view is being filled it
// waits for that, but not for long.
func (b *Backend) Wait(ctx context.Context) error {
	if b.condition.ready() || !b.condition.filling() {
		return b.Ready()
	}
	timer := time.NewTimer(b.opts.FillWait)
	defer timer.Stop()
	select {
	case <-b.condition.reached:
		return nil
	case <-timer.C:
		return b.Ready()
	case <-ctx.Done():
		return failure(ctx.Err(), "wait for the pinset")
	}
}
