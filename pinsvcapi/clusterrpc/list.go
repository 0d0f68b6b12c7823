package clusterrpc

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// List returns one page of the pins that match q, from the view. While the view is filled it
// waits for a moment. CIDs of the query that this peer does not know are asked for at the others.
func (b *Backend) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	if err := b.Wait(ctx); err != nil {
		return pinsvc.Page{}, err
	}
	if comparesAll(q) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.opts.ListTimeout)
		defer cancel()
	}
	for key := range q.Meta {
		if pinrecord.IsReserved(key) {
			return pinsvc.Page{}, nil // No client has such a pair.
		}
	}
	if err := b.awaitListed(ctx, user, q.CIDs); err != nil {
		return pinsvc.Page{}, err
	}
	b.poller.Active(ctx)
	found, err := b.view.Page(ctx, &q)
	if err != nil {
		return pinsvc.Page{}, clusterapi.Failure(err, "list the pins")
	}
	page := pinsvc.Page{Count: found.Count, Rows: make([]pinsvc.Row, len(found.Entries))}
	r := pageRenderer{backend: b, hidden: b.index.HasHidden()}
	for i := range found.Entries {
		page.Rows[i] = r.row(ctx, &found.Entries[i])
	}
	if err := ctx.Err(); err != nil {
		return pinsvc.Page{}, clusterapi.Failure(err, "list the pins")
	}
	return page, nil
}

// comparesAll reports whether a query compares every pin.
func comparesAll(q pinsvc.Query) bool {
	return len(q.Meta) > 0 || q.Name != "" && (q.Match == pinsvc.MatchPartial || q.Match == pinsvc.MatchIPartial)
}

// pageRenderer makes the rows of one page. Most pins of a page have the same holders with the
// same reports, and the same origins; what follows from both is computed once for a run of
// such pins.
type pageRenderer struct {
	backend           *Backend
	placement, vector uint32
	summary           *peerstatus.Summary // nil before the first row
	delegates         pinsvc.RawJSON
	originsNumber     uint32
	origins           pinsvc.RawJSON
	hidden            bool // there are pins that others have replaced
}

func (r *pageRenderer) row(ctx context.Context, e *pinset.Entry) pinsvc.Row {
	b := r.backend
	if r.summary == nil || r.placement != e.Placement || r.vector != e.Vector {
		if r.summary == nil || r.placement != e.Placement {
			r.delegates = b.delegatesOf(ctx, e.Placement).Raw
		}
		r.placement, r.vector = e.Placement, e.Vector
		r.summary = b.tracker.Summary(e.Placement, e.Vector)
	}
	if r.originsNumber != e.Origins {
		r.originsNumber, r.origins = e.Origins, ""
		if set := b.tracker.OriginSet(e.Origins); set != nil {
			r.origins = set.Raw
		}
	}
	row := pinsvc.Row{
		Key: e.Key, CID: e.Key, Status: e.Status, Created: e.Created, Name: e.Name, Meta: e.Meta,
		Origins: r.origins, Delegates: r.delegates, Info: r.summary.RawInfo,
	}
	if !special(e, r.summary) && !r.hidden {
		return row
	}
	key, err := cid.Cast([]byte(e.Key))
	if err != nil {
		return row // The view has no such key.
	}
	if !special(e, r.summary) && !b.index.Replaces(key) {
		return row
	}
	row.Info = pinsvc.RawPairs(b.info(key, e.Status, r.summary, e.ExpiresAt))
	if e.OtherFormRequested {
		if other, ok := pinsvc.OtherForm(key); ok {
			row.CID = other.KeyString()
		}
	}
	return row
}

// special reports whether a row has more than the summary of the pin.
func special(e *pinset.Entry, s *peerstatus.Summary) bool {
	return e.OtherFormRequested || e.ExpiresAt != 0 || s.Failing || e.Status == pinsvc.StatusQueued
}
