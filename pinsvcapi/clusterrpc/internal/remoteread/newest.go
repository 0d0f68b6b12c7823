package remoteread

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

const (
	// newestPatience is how long others have to say what record of a pin they have.
	newestPatience = 500 * time.Millisecond
	// silentFor is how long a peer that did not say it is not asked again for that.
	silentFor = 2 * time.Second
	// livingFor is how old the list of those that are asked may be.
	livingFor = time.Second
)

// AwaitNewest returns nil unless another peer has a later record of a pin than the state of this
// one. Then it waits for that, and is of KindUnavailable if it does not come in time. It is for
// requests that end a pin: what a removal does not know of comes after it, and undoes it, although
// it was accepted before. key is that of the record here.
//
// A peer that does not answer soon does not count: it may be frozen or cut off, and what it has
// accepted is concurrent then. Where there is nobody to ask, or where it is not known which records
// came here, nothing is asked. Where there is a leader, its record is the newest.
func (r *Reader) AwaitNewest(ctx context.Context, key api.Cid) error {
	if r.cfg.Leader != nil {
		return r.awaitLeaders(ctx, key)
	}
	if r.cfg.Past == nil {
		return nil
	}
	peers := r.living.peers(ctx, r)
	if len(peers) == 0 {
		return nil
	}
	newer, found := r.later(ctx, peers, key)
	if !found {
		return nil
	}
	came := func() bool { return r.came(ctx, newer.by, newer.rec) }
	if r.arrivesOrIsRead(ctx, key.Cid, came, r.cfg.Timeout) {
		return nil
	}
	return changedElsewhere(ctx)
}

// changedElsewhere is the error of a request that has waited for a change.
func changedElsewhere(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return clusterapi.Failure(err, "wait for the last change of the pin")
	}
	return unavailable("another peer of the cluster has changed the pin, and the change has not reached this one yet")
}

// awaitLeaders waits until this peer has the record that the leader has. That may change
// meanwhile, so it is asked again now and then. A leader that does not answer is not waited for: a
// write without one fails by itself.
func (r *Reader) awaitLeaders(request context.Context, key api.Cid) error {
	ctx, cancel := context.WithTimeout(request, r.cfg.Timeout)
	defer cancel()
	for {
		leader, err := r.cfg.Leader(ctx)
		if err != nil || leader == "" || leader == r.cfg.Self {
			return nil
		}
		rec, found, err := r.readAt(ctx, leader, key)
		switch {
		case err != nil && ctx.Err() != nil:
			return changedElsewhere(request)
		case err != nil || !found || r.cfg.Has(rec):
			return nil
		case r.arrivesOrIsRead(ctx, key.Cid, func() bool { return r.cfg.Has(rec) }, askAgain):
			return nil
		case ctx.Err() != nil:
			return changedElsewhere(request)
		}
	}
}

// later asks peers for a record that has not come to this peer.
func (r *Reader) later(ctx context.Context, peers []peer.ID, key api.Cid) (newer reply, found bool) {
	ctx, cancel := context.WithTimeout(ctx, newestPatience)
	defer cancel()
	newer = firstFound(ctx, peers, func(ctx context.Context, p peer.ID) reply { return r.laterAt(ctx, p, key) })
	return newer, newer.found
}

// laterAt asks one peer; found: it has a record that has not come here.
func (r *Reader) laterAt(ctx context.Context, p peer.ID, key api.Cid) reply {
	rec, found, err := r.readAt(ctx, p, key)
	if err != nil && context.Cause(ctx) != context.Canceled { // Not because another one had it.
		r.silent.add(p, silentFor)
	}
	if err != nil || !found || !pinrecord.Visible(rec) || r.came(ctx, p, rec) || r.removed(ctx, p, rec) {
		return reply{}
	}
	return reply{by: p, rec: rec, found: true}
}

// came reports whether a record of another peer has come to this one.
func (r *Reader) came(ctx context.Context, by peer.ID, rec api.Pin) bool {
	return r.cfg.Has(rec) || r.superseded(ctx, by, rec)
}

// livingPeers are those that are asked by AwaitNewest, which must cost little.
type livingPeers struct {
	turn  chan struct{} // held by the one request that reads the list
	mu    sync.Mutex    // guards what is below; nothing is waited for with it held
	at    time.Time
	known []peer.ID
}

func newLivingPeers() *livingPeers { return &livingPeers{turn: make(chan struct{}, 1)} }

// peers are those of a moment ago but such as did not answer. While the list cannot be read, they are those
// of before: the next request reads it again.
func (l *livingPeers) peers(ctx context.Context, r *Reader) []peer.ID {
	known, fresh := l.list()
	if !fresh {
		known = l.read(ctx, r)
	}
	answering := make([]peer.ID, 0, len(known))
	for _, p := range known {
		if !r.silent.has(p) {
			answering = append(answering, p)
		}
	}
	return answering
}

// list returns what is known, and whether that is of a moment ago.
func (l *livingPeers) list() (known []peer.ID, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known, time.Since(l.at) < livingFor
}

// read reads the list anew, unless another request has while this one waited.
func (l *livingPeers) read(ctx context.Context, r *Reader) []peer.ID {
	ctx, cancel := context.WithTimeout(ctx, newestPatience)
	defer cancel()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
	}
	known, fresh := l.list()
	if fresh || ctx.Err() != nil {
		return known
	}
	read, _, err := r.others(ctx)
	if err != nil {
		return known
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at, l.known = time.Now(), read
	return read
}
