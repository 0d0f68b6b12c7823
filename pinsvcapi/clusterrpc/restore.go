package clusterrpc

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// restoreDelay is how long a record is left alone after it lost our keys:
	// whoever wrote it may not be done.
	restoreDelay = 2 * time.Second
	// maxRestores bounds the records that are mended in one beat, and
	// maxWiped those that wait for it. Reading the state again finds others.
	maxRestores, maxWiped = 16, 100_000
)

// restorer remembers the pins whose record lost our keys because another tool
// replaced its metadata (D2). The view still has what they said.
type restorer struct {
	now func() time.Time

	mu    sync.Mutex
	wiped map[cid.Cid]time.Time // since when
}

func newRestorer(now func() time.Time) *restorer {
	return &restorer{now: now, wiped: make(map[cid.Cid]time.Time)}
}

func (r *restorer) add(key cid.Cid) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.wiped[key]; !ok && len(r.wiped) < maxWiped {
		r.wiped[key] = r.now()
	}
}

// due are the pins whose turn has come; turn is how long each has to wait.
func (r *restorer) due(limit int, turn func(cid.Cid) time.Duration) []cid.Cid {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []cid.Cid
	for key, since := range r.wiped {
		if len(due) < limit && r.now().Sub(since) >= restoreDelay+turn(key) {
			due = append(due, key)
			delete(r.wiped, key)
		}
	}
	return due
}

// restore writes lost keys back. The peer closest to the pin does it; others
// only when it does not.
func (b *Backend) restore(ctx context.Context) {
	members := b.places.memberIDs()
	for _, key := range b.restorer.due(maxRestores, func(key cid.Cid) time.Duration {
		return time.Duration(b.rank(key, members)) * turn
	}) {
		if err := b.restoreKeys(ctx, key); err != nil && pinsvc.KindOf(err) != pinsvc.KindForbidden && ctx.Err() == nil {
			log.Warnf("write back the creation time of pin %s: %s", key, err)
			b.restorer.add(key)
		}
	}
}

// restoreKeys writes our keys into a record that still lacks them.
func (b *Backend) restoreKeys(ctx context.Context, key cid.Cid) error {
	unlock, err := b.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	old, found, err := b.feed.refresh(ctx, api.NewCid(key))
	if err != nil || !found || !visible(old) {
		return err
	}
	if _, ours := createdOf(old); ours {
		return nil
	}
	p, ok := b.view.Get(key)
	if !ok || !p.Stamped || !p.CID.Equals(key) {
		return nil
	}
	pin := pinsvc.Pin{CID: key, Name: old.Name, Meta: clientMeta(old)}
	if other, ok := pinsvc.OtherForm(key); ok && p.AskedOtherForm {
		pin.CID = other
	}
	rec := asked(old, pin)
	rec.Origins = old.Origins
	stamp(rec, p.Created)
	log.Infof("pin %s was changed by another tool: its creation time is written back", key)
	_, err = b.submit(ctx, held{old, true}, rec)
	return err
}
