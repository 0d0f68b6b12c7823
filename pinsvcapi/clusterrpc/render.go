package clusterrpc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/delegates"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Keys of info, beside "replicas".
const (
	infoDetails  = peerstatus.InfoDetails
	infoAttempts = "attempts"
	infoUntil    = "pinned_until"
	infoKept     = "kept"
)

// maxKeptShown bounds the CIDs in info.
const maxKeptShown = 10

// render makes the response for a pin of the view.
func (b *Backend) render(ctx context.Context, row pinset.Pin) pinsvc.PinStatus {
	return b.renderWith(row, b.delegatesOf(ctx, row.Placement).List)
}

// renderWith is render with given delegates.
func (b *Backend) renderWith(row pinset.Pin, delegates []string) pinsvc.PinStatus {
	st := pinsvc.PinStatus{
		RequestID: row.CID.String(),
		Status:    row.Status,
		Created:   row.Created,
		Pin:       pinsvc.Pin{CID: row.CID, Name: row.Name, Meta: row.Meta},
		Delegates: delegates,
		Info:      b.info(row.CID, row.Status, b.tracker.Summary(row.Placement, row.Vector), row.ExpiresAt),
	}
	if row.OtherFormRequested {
		if other, ok := pinsvc.OtherForm(row.CID); ok {
			st.Pin.CID = other
		}
	}
	if set := b.tracker.OriginSet(row.Origins); set != nil {
		st.Pin.Origins, st.RawOrigins = set.Addrs, set.Raw
	}
	return st
}

// info is what the response has beside the status. The map is read-only.
func (b *Backend) info(key cid.Cid, status pinsvc.Status, s *peerstatus.Summary, expiresAt uint32) map[string]string {
	var kept []cid.Cid
	if b.index.HasHidden() {
		kept = b.index.Kept(key)
	}
	if !s.Failing && expiresAt == 0 && status != pinsvc.StatusQueued && len(kept) == 0 {
		return s.Info
	}
	info := maps.Clone(s.Info)
	if info == nil {
		info = make(map[string]string, 2)
	}
	details, attempts := b.tracker.Details(key, status)
	if details == "" && status == pinsvc.StatusQueued {
		if at, of := b.poller.QueuePosition(key); at > 0 {
			details = fmt.Sprintf("position %d of %d in this peer's pin queue", at, of)
		}
	}
	if away := info[infoDetails]; details != "" && away != "" {
		details += "; " + away
	}
	if details != "" {
		info[infoDetails] = details
	}
	if attempts > 0 {
		info[infoAttempts] = strconv.Itoa(attempts)
	}
	if expiresAt > 0 {
		info[infoUntil] = time.Unix(int64(expiresAt), 0).UTC().Format(time.RFC3339)
	}
	if len(kept) > 0 {
		info[infoKept] = keptText(kept)
	}
	if len(info) == 0 {
		return nil
	}
	return info
}

// keptText are the CIDs of replaced pins whose content is kept.
func keptText(kept []cid.Cid) string {
	texts := make([]string, 0, maxKeptShown)
	for _, c := range kept[:min(len(kept), maxKeptShown)] {
		texts = append(texts, c.String())
	}
	text := strings.Join(texts, ", ")
	if more := len(kept) - len(texts); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// delegatesOf are the delegates of pins of a placement.
func (b *Backend) delegatesOf(ctx context.Context, placement uint32) delegates.Delegates {
	if cached, ok := b.cache.Get(placement); ok {
		return cached
	}
	holders, _ := b.tracker.Holders(placement)
	// A request that has waited for a peer in vain does not do so twice.
	holders = slices.DeleteFunc(holders, func(p peer.ID) bool {
		return b.poller.Breaker().Open(p) && !b.delegates.Known(p)
	})
	list := b.delegates.For(ctx, holders)
	if len(list) == 0 {
		// Clients connect only to the delegates of a POST, which are always those of the
		// holders. Elsewhere the field must not be empty, and every node of the cluster
		// can pass blocks on.
		list = b.delegates.For(ctx, []peer.ID{b.opts.Self})
	}
	if ctx.Err() != nil {
		return delegates.NewDelegates(list)
	}
	return b.cache.Put(placement, list)
}
