package clusterrpc

import (
	"context"
	"sync"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// List returns one page of the pins that match q. It reads the whole state,
// or the records of the CIDs that are asked for, and keeps no more of it than
// a page may have. Statuses are asked for last: of every match when q filters
// by status, else of the page alone.
func (b *Backend) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.PinResults, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.ListTimeout)
	defer cancel()
	members, err := b.members(ctx)
	if err != nil {
		return pinsvc.PinResults{}, err
	}
	p := newPage(q.Limit)
	if q.Statuses == pinsvc.AllStatuses {
		err = b.matches(ctx, q, func(m match) error {
			p.add(m)
			return nil
		})
	} else {
		err = b.matchesByStatus(ctx, q, members, p.add)
	}
	if err != nil {
		return pinsvc.PinResults{}, failure(err, "list the pins")
	}
	results, err := b.presentAll(ctx, p.cut(), members)
	if err != nil {
		return pinsvc.PinResults{}, failure(err, "list the pins")
	}
	return pinsvc.PinResults{Count: p.count, Results: results}, nil
}

// matches hands every record to take that passes the filters of q other than
// that by status. It stops when take fails.
func (b *Backend) matches(ctx context.Context, q pinsvc.Query, take func(match) error) error {
	filter := func(rec api.Pin) error {
		created, _ := createdOf(rec)
		b.creation.saw(created)
		m := match{rec: rec, created: created}
		if !m.passes(q) {
			return nil
		}
		return take(m)
	}
	if len(q.CIDs) > 0 {
		return b.eachOf(ctx, q.CIDs, filter)
	}
	return b.each(ctx, filter)
}

// passes reports whether a record is a pin that passes the filters of q other
// than those by CID and status.
func (m match) passes(q pinsvc.Query) bool {
	switch {
	case !visible(m.rec),
		!q.Before.IsZero() && !m.created.Before(q.Before),
		!q.After.IsZero() && !m.created.After(q.After),
		!q.Match.Matches(m.rec.Name, q.Name):
		return false
	}
	if len(q.Meta) == 0 {
		return true
	}
	for key := range q.Meta {
		if isReserved(key) {
			return false // No client has such a pair.
		}
	}
	return pinsvc.HasMeta(m.rec.Metadata, q.Meta)
}

// each hands over every record there is, as this peer has last written it.
func (b *Backend) each(ctx context.Context, take func(api.Pin) error) error {
	changing := b.pending.snapshot()
	err := b.cluster.pins(ctx, func(rec api.Pin) error {
		if _, ok := changing[rec.Cid.Cid]; ok {
			return nil
		}
		return take(rec)
	})
	for key := range changing {
		if err != nil {
			return err
		}
		var rec api.Pin
		var found bool
		if rec, found, err = b.record(ctx, api.NewCid(key)); found && err == nil {
			err = take(rec)
		}
	}
	return err
}

// eachOf hands over the records of some CIDs, each once. Where another tool
// pinned both forms of a CID, both are pins of their own.
func (b *Backend) eachOf(ctx context.Context, cids []cid.Cid, take func(api.Pin) error) error {
	looked := make(map[cid.Cid]bool, len(cids))
	for _, c := range cids {
		forms := []cid.Cid{c}
		if other, ok := pinsvc.OtherForm(c); ok {
			forms = append(forms, other)
		}
		for _, key := range forms {
			if looked[key] {
				continue
			}
			looked[key] = true
			rec, found, err := b.record(ctx, api.NewCid(key))
			if found && err == nil {
				err = take(rec)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// matchesByStatus is matches with the filter by status. The peers are asked
// about several pins at a time, and take is called by one goroutine at a time.
func (b *Backend) matchesByStatus(ctx context.Context, q pinsvc.Query, members []peer.ID, take func(match)) error {
	g, ctx := errgroup.WithContext(ctx)
	candidates := make(chan match)
	g.Go(func() error {
		defer close(candidates)
		return b.matches(ctx, q, func(m match) error {
			select {
			case candidates <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	var mu sync.Mutex
	for range b.opts.StatusWorkers {
		g.Go(func() error {
			for m := range candidates {
				v, err := b.status(ctx, m.rec, members)
				if err != nil {
					return err
				}
				if !q.Statuses.Has(v.status) {
					continue
				}
				m.verdict = &v
				mu.Lock()
				take(m)
				mu.Unlock()
			}
			return nil
		})
	}
	return g.Wait()
}

// presentAll makes the answers of a page; their statuses are asked for where
// they are not known yet.
func (b *Backend) presentAll(ctx context.Context, page []match, members []peer.ID) ([]pinsvc.PinStatus, error) {
	results := make([]pinsvc.PinStatus, len(page))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.opts.StatusWorkers)
	for i, m := range page {
		g.Go(func() (err error) {
			if m.verdict != nil {
				results[i] = b.presentAs(ctx, m.rec, members, *m.verdict)
				return nil
			}
			results[i], err = b.present(ctx, m.rec, members)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return results, nil
}
