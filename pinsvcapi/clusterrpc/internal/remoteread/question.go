package remoteread

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// questionTimeout leaves a request the time for its response.
	questionTimeout = DefaultTimeout * 9 / 10
	// askAgain is the time between two attempts to ask a peer that did not respond.
	askAgain = 200 * time.Millisecond
	// deniedFor is how long a peer that refuses PinGet is not asked for it again.
	deniedFor = time.Minute
)

// question is one question to all living peers. Its fields are valid once done is closed.
type question struct {
	cid  cid.Cid
	done chan struct{}

	found bool
	rec   api.Pin
	by    peer.ID // that has the record
	err   error
}

func (q *question) answered() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// flights are the questions that are asked now, and those that follow them. A request that
// comes while a question is asked waits for the next one: the pin may have been made after
// a peer was asked.
type flights struct {
	mu    sync.Mutex
	byPin map[string]*flight
}

// flight is the question about one pin that is asked now; next, if not nil, is asked then.
type flight struct{ next *question }

// nobody returns an answered question if there is nobody to ask, else nil.
func (r *Reader) nobody(ctx context.Context, c cid.Cid) *question {
	if peers, _, err := r.others(ctx); err != nil || len(peers) > 0 {
		return nil
	}
	q := &question{cid: c, done: make(chan struct{})}
	close(q.done)
	return q
}

// ask returns the question that answers a request that comes now; false: the user has no
// question left.
func (r *Reader) ask(user pinsvc.User, c cid.Cid) (*question, bool) {
	key := pinsvc.PinKey(c)
	r.flights.mu.Lock()
	defer r.flights.mu.Unlock()
	running := r.flights.byPin[key]
	if running != nil && running.next != nil {
		return running.next, true
	}
	if !r.limiter.Take(string(user)) {
		return nil, false
	}
	q := &question{cid: c, done: make(chan struct{})}
	if running != nil {
		running.next = q
		return q, true
	}
	if r.flights.byPin == nil {
		r.flights.byPin = make(map[string]*flight)
	}
	r.flights.byPin[key] = &flight{}
	if !r.cfg.Tasks.Go(func(ctx context.Context) { r.fly(ctx, key, q) }) {
		delete(r.flights.byPin, key)
		q.err = unavailable("this peer is shutting down")
		close(q.done)
	}
	return q, true
}

// fly asks a question and those that follow it.
func (r *Reader) fly(ctx context.Context, key string, q *question) {
	for q != nil {
		r.answer(ctx, q)
		close(q.done)
		q = r.nextQuestion(key)
	}
}

func (r *Reader) nextQuestion(key string) *question {
	r.flights.mu.Lock()
	defer r.flights.mu.Unlock()
	f := r.flights.byPin[key]
	q := f.next
	if f.next = nil; q == nil {
		delete(r.flights.byPin, key)
	}
	return q
}

// reply is what one peer says.
type reply struct {
	by    peer.ID
	rec   api.Pin
	found bool
	err   error
}

// answer asks all living peers, until one has the pin.
func (r *Reader) answer(ctx context.Context, q *question) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	peers, living, err := r.others(ctx)
	if err != nil {
		q.err = err
		return
	}
	replies := make(chan reply, len(peers))
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range peers {
		wg.Go(func() { replies <- r.askUntilItReplies(ctx, p, q.cid) })
	}
	silent := 0
	for range peers {
		switch got := <-replies; {
		case got.err != nil && (living[got.by] || clusterapi.IsStarting(got.err)):
			// One that is starting may be the one that has accepted the pin.
			silent++
			q.err = got.err
		case got.found:
			q.rec, q.by, q.found, q.err = got.rec, got.by, true, nil
			cancel()
			return
		}
	}
	if silent > 0 {
		q.err = &pinsvc.Error{
			Kind: pinsvc.KindUnavailable, Err: q.err, RetryAfter: retryAfter,
			Details: fmt.Sprintf("this peer does not know the pin, and %d of %d others did not answer whether they have it", silent, len(peers)),
		}
	}
}

// others are the peers to ask: the leader, if there can be one, else those that live, which must
// answer, and those that are connected. A peer lives that has sent a ping not long ago, or cannot
// have been heard.
func (r *Reader) others(ctx context.Context) (peers []peer.ID, living map[peer.ID]bool, err error) {
	if r.cfg.Leader != nil {
		leader, err := r.cfg.Leader(ctx)
		switch {
		case err != nil || leader == "":
			return nil, nil, &pinsvc.Error{
				Kind: pinsvc.KindUnavailable, Err: err, RetryAfter: retryAfter,
				Details: "this peer does not know the pin, and the cluster has no leader to ask now",
			}
		case leader == r.cfg.Self:
			return nil, nil, nil
		}
		return []peer.ID{leader}, map[peer.ID]bool{leader: true}, nil
	}
	pings, err := r.cfg.Client.LatestMetrics(ctx, "ping")
	if err != nil {
		return nil, nil, clusterapi.Failure(err, "read which peers are alive")
	}
	living = make(map[peer.ID]bool, len(pings))
	add := func(p peer.ID, lives bool) {
		if p == r.cfg.Self || !r.cfg.Trusted(p) {
			return
		}
		if !slices.Contains(peers, p) {
			peers = append(peers, p)
		}
		if lives {
			living[p] = true
		}
	}
	for _, ping := range pings {
		add(ping.Peer, true)
	}
	for _, p := range r.cfg.Connected() {
		add(p, r.cfg.ClockBehind(p))
	}
	for _, p := range r.cfg.Awaited() {
		add(p, true)
	}
	return peers, living, nil
}

// askUntilItReplies asks one peer, again and again until the context ends.
func (r *Reader) askUntilItReplies(ctx context.Context, p peer.ID, c cid.Cid) (last reply) {
	for {
		got := r.askPeer(ctx, p, c)
		if got.err == nil || clusterapi.IsDenied(got.err) {
			got.err = nil // A peer that may not be asked says nothing.
			return got
		}
		if last.err == nil || ctx.Err() == nil {
			last = reply{by: p, err: got.err}
		}
		if !backoff.Sleep(ctx, askAgain) {
			return last
		}
	}
}

// askPeer asks one peer for both forms of the CID.
func (r *Reader) askPeer(ctx context.Context, p peer.ID, c cid.Cid) reply {
	forms := []cid.Cid{pinrecord.StateKey(c)}
	if other, ok := pinsvc.OtherForm(forms[0]); ok {
		forms = append(forms, other)
	}
	for _, form := range forms {
		rec, found, err := r.readAt(ctx, p, api.NewCid(form))
		if err != nil {
			return reply{err: err}
		}
		if found && pinrecord.Visible(rec) && !r.removed(ctx, p, rec) && !r.cfg.Hidden(rec) && !r.outdated(ctx, p, rec) {
			return reply{by: p, rec: rec, found: true}
		}
	}
	return reply{}
}

// readAt reads a record of another peer's state. See statusAt for what is left out.
func (r *Reader) readAt(ctx context.Context, p peer.ID, key api.Cid) (rec api.Pin, found bool, err error) {
	if r.denied.has(p) {
		return r.statusAt(ctx, p, key)
	}
	rec, err = r.cfg.Client.PinGetAt(ctx, p, key)
	switch {
	case err == nil:
		return rec, true, nil
	case clusterapi.IsNotFound(err):
		return api.Pin{}, false, nil
	case clusterapi.IsDenied(err):
		r.denied.add(p, deniedFor)
		return r.statusAt(ctx, p, key)
	}
	return api.Pin{}, false, err
}

// statusAt asks a peer of ipfs-cluster-service, whose policy refuses PinGet: its tracker's
// report tells whether the pin is in its state, and most of the record (U43 in
// docs/upstream-faults.md).
func (r *Reader) statusAt(ctx context.Context, p peer.ID, key api.Cid) (rec api.Pin, found bool, err error) {
	info, err := r.cfg.Client.TrackerStatus(ctx, p, key)
	if err != nil {
		return api.Pin{}, false, err
	}
	switch info.Status {
	case api.TrackerStatusUnpinned, api.TrackerStatusUnpinning, api.TrackerStatusUnpinQueued, api.TrackerStatusUnpinError:
		return api.Pin{}, false, nil
	}
	if info.Created.IsZero() {
		return api.Pin{}, false, fmt.Errorf("the peer could not read its state: %s", info.Error)
	}
	rec = api.PinWithOpts(key, api.PinOptions{
		Name: info.Name, Metadata: info.Metadata, Origins: info.Origins,
		ReplicationFactorMin: -1, ReplicationFactorMax: -1,
	})
	rec.Timestamp, rec.Allocations = info.Created, info.Allocations
	if n := len(info.Allocations); n > 0 {
		rec.ReplicationFactorMin, rec.ReplicationFactorMax = 1, n
	}
	if info.Status == api.TrackerStatusSharded {
		rec.Type = api.MetaType
	}
	return rec, true, nil
}

// notedPeers are those of which something was noted not long ago.
type notedPeers struct {
	mu    sync.Mutex
	until map[peer.ID]time.Time
}

func (n *notedPeers) has(p peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	until, ok := n.until[p]
	if ok && !time.Now().Before(until) {
		delete(n.until, p)
		return false
	}
	return ok
}

func (n *notedPeers) add(p peer.ID, during time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.until == nil {
		n.until = make(map[peer.ID]time.Time)
	}
	n.until[p] = time.Now().Add(during)
}
