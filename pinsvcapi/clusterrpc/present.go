package clusterrpc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// maxOrigins is the specification's; other tools may have stored more.
const maxOrigins = 20

// present makes the answer about a pin of the view. It reads the record when
// that has what the view does not keep.
func (b *Backend) present(ctx context.Context, p pinset.Pin) (pinsvc.PinStatus, error) {
	if p.Origins == 0 && p.ExpiresAt == 0 {
		return b.presentWith(ctx, p, extra{}), nil
	}
	x, mark, ok := b.extras.get(p.CID)
	if !ok {
		rec, found, err := b.record(ctx, api.NewCid(p.CID))
		if err != nil {
			return pinsvc.PinStatus{}, err
		}
		if found { // Else it is just going; the answer is of before.
			x = extraOf(rec)
			b.extras.put(p.CID, x, mark)
		}
	}
	return b.presentWith(ctx, p, x), nil
}

// presentRecord is present with the record, of which it takes what the view
// does not keep.
func (b *Backend) presentRecord(ctx context.Context, p pinset.Pin, rec api.Pin) pinsvc.PinStatus {
	return b.presentWith(ctx, p, extraOf(rec))
}

func (b *Backend) presentWith(ctx context.Context, p pinset.Pin, x extra) pinsvc.PinStatus {
	st := pinsvc.PinStatus{
		RequestID: p.CID.String(),
		Status:    p.Status,
		Created:   p.Created,
		Pin:       pinsvc.Pin{CID: p.CID, Name: p.Name, Meta: p.Meta},
		Delegates: b.delegatesAt(ctx, p.Placement).list,
		Info:      b.info(p, x.expires),
	}
	if p.AskedOtherForm {
		if other, ok := pinsvc.OtherForm(p.CID); ok {
			st.Pin.CID = other
		}
	}
	for _, origin := range x.origins[:min(len(x.origins), maxOrigins)] {
		st.Pin.Origins = append(st.Pin.Origins, multiaddr.Multiaddr(origin.Value()))
	}
	return st
}

// Keys of info.
const (
	infoDetails  = "status_details"
	infoAttempts = "attempts"
	infoUntil    = "pinned_until"
)

// info is what is known of a pin beside its status.
func (b *Backend) info(p pinset.Pin, expires time.Time) map[string]string {
	v := b.places.show(p.Placement, p.Vector)
	again, isPending := b.pending.waits(p.CID)
	if !v.troubled && again == 0 && expires.IsZero() && p.Status != pinsvc.StatusQueued {
		return v.plain
	}
	info := maps.Clone(v.plain)
	if info == nil {
		info = make(map[string]string, 2)
	}
	details, attempts := b.details(p)
	switch {
	case isPending && again > 0:
		details = fmt.Sprintf("the cluster accepted the pin and has not committed it; it was submitted again %s", times(again))
	case details == "" && p.Status == pinsvc.StatusQueued:
		details = b.rounds.position(p.CID)
	}
	if details != "" {
		info[infoDetails] = details
	}
	if attempts > 0 {
		info[infoAttempts] = strconv.Itoa(attempts)
	}
	if !expires.IsZero() {
		info[infoUntil] = expires.UTC().Format(time.RFC3339)
	}
	if len(info) == 0 {
		return nil
	}
	return info
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// details are the most telling of what is wrong with a pin: what failed, and
// else what it waits for. Of a pinned one only the tries are told.
func (b *Backend) details(p pinset.Pin) (text string, attempts int) {
	var worst standing
	for _, e := range b.troubles.of(p.CID) {
		if e.standing == standingTrying || e.standing == standingGaveUp {
			attempts = max(attempts, e.tries())
		}
		if e.standing > worst && p.Status != pinsvc.StatusPinned {
			worst, text = e.standing, e.tell(b.opts.Now(), b.opts.MaxPinAttempts)
		}
	}
	return text, attempts
}

// placeDelegates keeps the delegates of placements ready.
type placeDelegates struct {
	mu    sync.Mutex
	ready map[uint32]readyDelegates
}

type readyDelegates struct {
	list     []string
	rendered pinsvc.RawJSON // the list as answers have it
	until    time.Time
}

const (
	// delegatesReady is how long delegates are shown without a look at the
	// addresses of the peers.
	delegatesReady = 5 * time.Second
	// maxReadyDelegates bounds the placements whose delegates are ready.
	maxReadyDelegates = 4096
)

// delegatesAt are the delegates of pins of a placement. The list is shared:
// it is read-only.
func (b *Backend) delegatesAt(ctx context.Context, at uint32) readyDelegates {
	now := b.opts.Now()
	if ready, ok := b.delegates.places.get(at, now); ok {
		return ready
	}
	should, _ := b.places.holders(at, 0)
	// A request that has waited for a peer in vain does not do so twice.
	should = slices.DeleteFunc(should, func(p peer.ID) bool { return b.away.now(p) && len(b.delegates.peek(p)) == 0 })
	list := b.delegates.of(ctx, should)
	if len(list) == 0 {
		// Only the answer to a POST is used to connect; it insists on the
		// holders. Everywhere else the field must just not be empty, and
		// every node of the cluster can pass blocks on.
		list = b.delegates.of(ctx, []peer.ID{b.self})
	}
	ready := readyDelegates{list, pinsvc.RawStrings(list), now.Add(delegatesReady)}
	if ctx.Err() == nil {
		b.delegates.places.put(at, ready)
	}
	return ready
}

func (d *placeDelegates) get(at uint32, now time.Time) (readyDelegates, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ready, ok := d.ready[at]
	return ready, ok && now.Before(ready.until)
}

func (d *placeDelegates) put(at uint32, ready readyDelegates) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready == nil || len(d.ready) >= maxReadyDelegates {
		d.ready = make(map[uint32]readyDelegates)
	}
	d.ready[at] = ready
}

// forget makes all be looked up again.
func (d *placeDelegates) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = nil
}

// keyOf is the CID of a key of the view.
func keyOf(key string) (cid.Cid, bool) {
	c, err := cid.Cast([]byte(key))
	return c, err == nil
}
