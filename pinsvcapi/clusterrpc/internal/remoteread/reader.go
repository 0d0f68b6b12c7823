// Package remoteread finds pins that this peer does not know yet because another peer
// accepted them a moment ago: a client reads its own writes at every peer. A request for
// such a pin waits for news of it (the journal of the view) and has the other peers asked
// at the same time.
//
// What others answer is believed as far as it goes:
//
//   - "no" of all living peers is "no", for the requests that waited when they were asked,
//     and for no later one: the pin may be made a moment after;
//   - "yes" is "yes", unless it names a pin that this peer has seen removed (Removed): the
//     other peer is behind then. So it is when its record is one that this peer's state
//     knows to be removed (Buried), and where there is a leader only that one is asked;
//   - while a living peer does not answer, nothing is known. Peers whose ping is gone and
//     that are not connected are not asked, once there was time to hear of them.
//
// Guessing CIDs is no amplification: each user has a bucket of questions, a question is
// shared by all requests that wait for it, and the number of requests that wait is bounded,
// in all and for each user: what waits is counted among the requests that the service works on.
// Where there is nobody to ask, as at the only peer of a cluster, nothing is limited.
package remoteread

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/ratelimit"
)

const (
	// DefaultTimeout is how long a request may take in all.
	DefaultTimeout = 2 * time.Second
	// readPatience is how long a request that only reads waits for a pin that another
	// peer has to arrive; then the other peer's record is the answer.
	readPatience = 500 * time.Millisecond
	// limitedPatience is how long a request waits for news when others may not be asked.
	limitedPatience = time.Second
	// lookInterval is the time between two reads of this peer's state for a pin that
	// another peer has, in case no event announces it.
	lookInterval = 100 * time.Millisecond
	// newsPause is the shortest time between two looks at the view.
	newsPause = 2 * time.Millisecond
	// retryAfter is what clients are told.
	retryAfter = time.Second

	// A user may have questionBurst questions asked at once, and one more each
	// questionInterval.
	questionInterval, questionBurst = 20 * time.Millisecond, 500
	maxUsers                        = 1024
)

// Client asks other peers: a clusterapi.Client.
type Client interface {
	LatestMetrics(ctx context.Context, name string) ([]api.Metric, error)
	PinGetAt(ctx context.Context, p peer.ID, key api.Cid) (api.Pin, error)
	TrackerStatus(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error)
}

// View has the pins that this peer knows: a pinset.View.
type View interface {
	Seq() uint64
	Changed(seq uint64) <-chan struct{}
}

// Config is what a Reader needs.
type Config struct {
	Client Client
	View   View
	// Known reports whether the view has a pin.
	Known func(cid.Cid) bool
	// Has reports whether the view has the pin of a record, as last requested there; nil: it is
	// known by reading the state.
	Has func(api.Pin) bool
	// Look reads the state of this peer and enters into the view what is there.
	Look func(ctx context.Context, c cid.Cid) (rec api.Pin, found bool, err error)
	// Removed are the pins that this peer saw removed.
	Removed *Removed
	// Buried are the records of a pin that the state of this peer knows to be removed, which
	// it does after a restart as well; nil: none are known.
	Buried func(ctx context.Context, key api.Cid) ([]api.Pin, error)
	// Past are the records of a pin that came to the state of this peer, superseded ones as well;
	// nil: which came is known by asking.
	Past func(ctx context.Context, key api.Cid) ([]api.Pin, error)
	// Hidden reports whether this peer knows that another pin has replaced that of a
	// record, which is then no pin for clients; nil: none was.
	Hidden func(api.Pin) bool
	Self   peer.ID
	// Trusted reports whether this peer believes another one; nil: it believes all.
	Trusted func(peer.ID) bool
	// Connected are peers that are asked although no ping of theirs is known, as in the
	// first seconds of a peer; nil: none are.
	Connected func() []peer.ID
	// ClockBehind reports whether the clock of a peer is back so far that its pings have expired
	// when they come: while it is connected, it must answer like those that ping. Nil: no clock is.
	ClockBehind func(peer.ID) bool
	// Awaited are peers that are taken to live although nothing was heard of them, because
	// there was no time yet to hear it: they are asked and must answer. Nil: there are none.
	Awaited func() []peer.ID
	// Leader is the only peer to ask, where one has all that was accepted: what others have
	// and it has not was removed. If it is this peer, nobody is asked. Nil: all are asked.
	Leader func(context.Context) (peer.ID, error)
	Tasks  *taskgroup.Group
	// Timeout (2 s) bounds a request.
	Timeout time.Duration
	// MaxWaiting (DefaultMaxWaiting) bounds the requests that wait. One user has half of them.
	MaxWaiting int
}

// Reader finds pins that other peers have. It is safe for concurrent use.
type Reader struct {
	cfg     Config
	limiter *ratelimit.Limiter
	waiting *waiting
	flights flights
	denied  notedPeers // that refused PinGet
	silent  notedPeers // that did not answer AwaitNewest
	living  *livingPeers
	shown   *shownPins
	counts  [outcomes]atomic.Uint64
}

// New returns a reader.
func New(cfg Config) *Reader {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxWaiting <= 0 {
		cfg.MaxWaiting = DefaultMaxWaiting
	}
	if cfg.Trusted == nil {
		cfg.Trusted = func(peer.ID) bool { return true }
	}
	if cfg.Hidden == nil {
		cfg.Hidden = func(api.Pin) bool { return false }
	}
	if cfg.Buried == nil {
		cfg.Buried = func(context.Context, api.Cid) ([]api.Pin, error) { return nil, nil }
	}
	if cfg.Has == nil {
		cfg.Has = func(api.Pin) bool { return false }
	}
	none := func() []peer.ID { return nil }
	if cfg.Connected == nil {
		cfg.Connected = none
	}
	if cfg.Awaited == nil {
		cfg.Awaited = none
	}
	if cfg.ClockBehind == nil {
		cfg.ClockBehind = func(peer.ID) bool { return false }
	}
	limiter, err := ratelimit.New(questionInterval, questionBurst, maxUsers)
	if err != nil {
		panic(err) // The constants are valid.
	}
	return &Reader{
		cfg: cfg, limiter: limiter, waiting: newWaiting(cfg.MaxWaiting), shown: newShownPins(), living: newLivingPeers(),
	}
}

// Await returns nil once this peer knows the pin, however late its news come. Its errors are
// of KindNotFound when no peer that could be asked has the pin, of KindTooManyRequests when
// the user waits for too many or has asked for too many unknown pins, and of KindUnavailable when
// another peer has it and it does not arrive in time, or when a living peer does not answer.
func (r *Reader) Await(ctx context.Context, user pinsvc.User, c cid.Cid) error {
	_, _, err := r.find(ctx, user, c, r.cfg.Timeout)
	return err
}

// AwaitAll is Await for the pins of one request, at once. Those that no peer has are no error.
func (r *Reader) AwaitAll(ctx context.Context, user pinsvc.User, cids []cid.Cid) error {
	place := r.waiting.placeOf(user)
	defer place.leave()
	var group errgroup.Group
	for _, c := range cids {
		group.Go(func() error {
			_, _, err := r.findAt(ctx, place, c, r.cfg.Timeout)
			if err != nil && pinsvc.KindOf(err) == pinsvc.KindNotFound {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

// Find is Await for a request that only reads: when a pin of another peer does not arrive
// soon, found is true and rec is that peer's record.
func (r *Reader) Find(ctx context.Context, user pinsvc.User, c cid.Cid) (rec api.Pin, found bool, err error) {
	return r.find(ctx, user, c, readPatience)
}

// find waits for a pin up to patience after another peer said that it has it.
func (r *Reader) find(ctx context.Context, user pinsvc.User, c cid.Cid, patience time.Duration) (api.Pin, bool, error) {
	place := r.waiting.placeOf(user)
	defer place.leave()
	return r.findAt(ctx, place, c, patience)
}

// findAt is find for a pin of a request that waits at a place.
func (r *Reader) findAt(ctx context.Context, place *place, c cid.Cid, patience time.Duration) (api.Pin, bool, error) {
	rec, how, err := r.search(ctx, place, c, patience)
	r.counts[how].Add(1)
	if err != nil && ctx.Err() != nil {
		err = clusterapi.Failure(ctx.Err(), "ask the other peers for the pin")
	}
	return rec, how == elsewhere, err
}

func (r *Reader) search(request context.Context, place *place, c cid.Cid, patience time.Duration) (api.Pin, outcome, error) {
	ctx, cancel := context.WithTimeout(request, r.cfg.Timeout)
	defer cancel()
	known := func() bool { return r.cfg.Known(c) && !r.Lags(ctx, c) }
	q, asked := r.nobody(ctx, c), true
	if q == nil {
		if !place.take() {
			return api.Pin{}, limited, r.tooMany(place.user)
		}
		q, asked = r.ask(place.user, c)
	}
	switch {
	case !asked && r.arrives(ctx, known, nil, limitedPatience):
		return api.Pin{}, arrived, nil
	case !asked:
		return api.Pin{}, limited, r.tooMany(place.user)
	case r.arrives(ctx, known, q.done, r.cfg.Timeout):
		return api.Pin{}, arrived, nil
	case !q.answered():
		return api.Pin{}, unanswered, unavailable("the other peers of the cluster did not answer in time whether they have the pin")
	case q.err != nil:
		return api.Pin{}, unanswered, q.err
	case !q.found && r.stillThere(ctx, c):
		return api.Pin{}, unanswered, unavailable("another peer of the cluster had the pin a moment ago; it does not respond, and the pin has not reached this one yet")
	case !q.found && !r.Lags(ctx, c):
		return api.Pin{}, absent, clusterapi.NotFound(c.String())
	case r.arrivesOrIsRead(ctx, c, known, patience):
		return api.Pin{}, arrived, nil
	case patience < r.cfg.Timeout && request.Err() == nil:
		return r.readAgain(ctx, q)
	}
	return api.Pin{}, unanswered, unavailable("another peer of the cluster has the pin, and it has not reached this one yet")
}

// arrives waits until known says so; false: done was closed, or patience or the context
// ended first. known is called after changes of the view. done may be nil.
func (r *Reader) arrives(ctx context.Context, known func() bool, done <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		seq := r.cfg.View.Seq()
		if known() {
			return true
		}
		select {
		case <-r.cfg.View.Changed(seq):
			backoff.Sleep(ctx, newsPause)
		case <-done:
			return known()
		case <-timer.C:
			return known()
		case <-ctx.Done():
			return known()
		}
	}
}

// arrivesOrIsRead is arrives for a pin that another peer has: this peer's state is read now
// and then as well.
func (r *Reader) arrivesOrIsRead(ctx context.Context, c cid.Cid, known func() bool, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if r.arrives(ctx, known, nil, lookInterval) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		_, _, _ = r.cfg.Look(ctx, c) // A state that cannot be read has nothing; the wait goes on.
	}
}

// readAgain asks the peer that has a pin once more: while the request waited, the pin may
// have been removed there, and this peer may have seen neither the pin nor its removal. If clients
// were shown the record of one peer, that one is asked again, because another may be behind it.
func (r *Reader) readAgain(ctx context.Context, q *question) (api.Pin, outcome, error) {
	last, shown := r.shown.pin(q.cid)
	switch {
	case !shown && !q.found: // It was shown too long ago since a moment.
		return api.Pin{}, unanswered, unavailable("another peer of the cluster had the pin, and it has not reached this one")
	case !shown:
		last = newShownPin(q.by, q.rec)
	}
	got := r.askPeer(ctx, last.by, q.cid)
	switch {
	case got.err != nil && r.removed(ctx, last.by, last.rec):
		return api.Pin{}, absent, clusterapi.NotFound(q.cid.String())
	case got.err != nil:
		// It was there a moment ago. A peer that does not come back is not waited for any longer.
	case !got.found && q.found && q.by != last.by:
		return api.Pin{}, unanswered, unavailable("the pin was removed at one peer of the cluster, another one has it, and neither change has reached this one yet")
	case !got.found:
		return api.Pin{}, absent, clusterapi.NotFound(q.cid.String())
	default:
		last = newShownPin(last.by, got.rec)
	}
	// Before the response, so that no request that follows it comes first.
	r.shown.add(q.cid, last)
	return last.rec, elsewhere, nil
}

func (r *Reader) tooMany(user pinsvc.User) error {
	return &pinsvc.Error{
		Kind:       pinsvc.KindTooManyRequests,
		Details:    "this peer does not know the pin, and too many pins that it does not know were requested to ask the other peers for each",
		RetryAfter: max(retryAfter, r.limiter.Wait(string(user))),
	}
}

func unavailable(details string) error {
	return &pinsvc.Error{Kind: pinsvc.KindUnavailable, Details: details, RetryAfter: retryAfter}
}
