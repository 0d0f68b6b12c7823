package clusterrpc

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/adder/sharding"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// silence is how long a peer that did not answer in time is taken to be away
// before it is asked again, so that a page costs one wait and not one for
// each of its pins.
const silence = 5 * time.Second

// ask has the peers that should hold a pin say what they know of it, and enters
// that. It returns when all have answered, or enough have confirmed that the
// pin is pinned; what the others say is entered when it comes.
func (b *Backend) ask(ctx context.Context, rec api.Pin) error {
	if rec.Type == api.MetaType {
		return b.askParts(ctx, rec)
	}
	b.askHolders(ctx, rec.Cid, holders(rec, b.places.memberIDs()), enough(rec))
	return given(ctx)
}

// askKnown is ask for a pin of the view, in the background. The channel is
// closed when it ends; it is nil when the record is needed first.
func (b *Backend) askKnown(ctx context.Context, p pinset.Pin) <-chan struct{} {
	should, need := b.places.wanted(p.Placement)
	if len(should) == 0 {
		return nil
	}
	done := make(chan struct{})
	if !b.tasks.start(func(context.Context) {
		defer close(done)
		b.askHolders(ctx, api.NewCid(p.CID), should, need)
	}) {
		return nil
	}
	return done
}

// askHolders is ask for a pin that should is to hold, need of them at least.
func (b *Backend) askHolders(ctx context.Context, key api.Cid, should []peer.ID, need int) {
	should = b.worthAsking(should, need)
	if len(should) == 1 {
		b.askOne(ctx, should[0], key)
		return
	}
	answers := make(chan bool, len(should))
	for _, p := range should {
		// Who is too late for the client may still answer in time.
		if !b.tasks.start(func(ctx context.Context) { answers <- b.askOne(ctx, p, key) }) {
			answers <- false
		}
	}
	for held, i := 0, 0; i < len(should) && held < need; i++ {
		select {
		case holds := <-answers:
			if holds {
				held++
			}
		case <-ctx.Done():
			return
		}
	}
}

// maxSpare is how many more peers are asked about a pin than have to hold it.
const maxSpare = 7

// worthAsking are the peers to ask about a pin: this one, which is quick, and
// others that should hold it; of a large cluster not all. Sweeps ask all.
func (b *Backend) worthAsking(should []peer.ID, need int) []peer.ID {
	if len(should) == 1 {
		return should
	}
	should = slices.Clone(should)
	slices.SortStableFunc(should, func(p, q peer.ID) int {
		switch {
		case p == q:
			return 0
		case p == b.self:
			return -1
		case q == b.self:
			return 1
		}
		return 0
	})
	return should[:min(len(should), need+maxSpare)]
}

// given is the failure of a request that was given up, or nil.
func given(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return failure(err, "ask for the status of the pin")
	}
	return nil
}

// askOne asks one peer about a pin, enters what it says and reports whether it
// holds the pin.
func (b *Backend) askOne(ctx context.Context, p peer.ID, key api.Cid) bool {
	a, ok := b.hear(ctx, p, key)
	if ok {
		b.ledger.heard(p, key.Cid, a)
	}
	return ok && a.status == api.TrackerStatusPinned
}

// hear asks one peer about a pin, unless it did not answer just now.
func (b *Backend) hear(ctx context.Context, p peer.ID, key api.Cid) (answer, bool) {
	if b.away.is(p) {
		return answer{}, false
	}
	call, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	info, err := b.cluster.trackerStatus(call, b.dest(p), key)
	if err != nil {
		if ctx.Err() == nil && p != b.self {
			log.Debugf("peer %s says nothing of pin %s: %s", p, key, err)
			b.away.did(p)
		}
		return answer{}, false
	}
	b.away.back(p)
	return answerOf(info), true
}

// askParts asks about the parts of a sharded root and enters what they make
// together. While one cannot be asked about, what is known of the root stays,
// unless the others decide.
func (b *Backend) askParts(ctx context.Context, root api.Pin) error {
	parts, err := b.parts(ctx, root)
	if err != nil {
		log.Debugf("parts of sharded pin %s: %s", root.Cid, err)
		return given(ctx)
	}
	statuses := make([]pinsvc.Status, 0, len(parts))
	silent, reason := false, ""
	for _, part := range parts {
		status, why, all := b.partStatus(ctx, part)
		if err := given(ctx); err != nil {
			return err
		}
		silent = silent || !all && status != pinsvc.StatusPinned
		if status == pinsvc.StatusFailed && reason == "" {
			reason = "a part of the sharded content failed: " + why
		}
		statuses = append(statuses, status)
	}
	if status := whole(statuses); !silent || status == pinsvc.StatusFailed {
		b.ledger.heardOfRoot(root.Cid.Cid, status, reason)
	}
	return nil
}

// partStatus asks about one part of a sharded root. Nothing is remembered of
// parts, so a failure counts when the tracker has tried often enough by its own
// count. all says that every peer answered that should hold it.
func (b *Backend) partStatus(ctx context.Context, part api.Pin) (status pinsvc.Status, reason string, all bool) {
	var count tally
	all = true
	for _, p := range holders(part, b.places.memberIDs()) {
		a, ok := b.hear(ctx, p, part.Cid)
		all = all && ok
		s := a.standing()
		if s == standingTrying && a.attempts >= b.opts.MaxPinAttempts {
			s, reason = standingGaveUp, reasonOf(a.text)
		}
		count.add(s)
	}
	return count.judge(enough(part)).status, reason, all
}

// parts are the records that a sharded root consists of. The list of the
// shards is a block that only IPFS has.
func (b *Backend) parts(ctx context.Context, root api.Pin) ([]api.Pin, error) {
	if root.Reference == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	index, err := b.cluster.pinGet(ctx, *root.Reference)
	if err != nil {
		return nil, err
	}
	data, err := b.cluster.block(ctx, index.Cid)
	if err != nil {
		return nil, err
	}
	node, err := sharding.CborDataToNode(data, "cbor")
	if err != nil {
		return nil, err
	}
	parts := []api.Pin{index}
	for _, link := range node.Links() {
		shard, err := b.cluster.pinGet(ctx, api.NewCid(link.Cid))
		if err != nil {
			return nil, err
		}
		parts = append(parts, shard)
	}
	return parts, nil
}

// learnMembers reads who the members of the cluster are, and makes the statuses
// of pins that are everywhere again when that has changed.
func (b *Backend) learnMembers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StateTimeout)
	defer cancel()
	members, err := b.cluster.members(ctx)
	if err != nil {
		return failure(err, "read the list of the cluster's peers")
	}
	members = slices.Clone(members) // It may be the consensus component's own.
	slices.Sort(members)
	if b.places.setMembers(slices.Compact(members), b.opts.Now()) {
		b.delegates.places.forget()
		b.ledger.rejudge()
	}
	return nil
}

// absences remembers which peers did not answer in time.
type absences struct {
	clock func() time.Time

	mu    sync.Mutex
	until map[peer.ID]time.Time
}

func newAbsences(now func() time.Time) *absences {
	return &absences{clock: now, until: make(map[peer.ID]time.Time)}
}

// is reports whether a peer is not worth asking. Once its time is over one
// caller is told to try, and the others go on without.
func (a *absences) is(p peer.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.until[p]
	if !ok {
		return false
	}
	now := a.clock()
	if now.Before(until) {
		return true
	}
	a.until[p] = now.Add(silence)
	return false
}

// now reports whether a peer did not answer just now. It is no leave to try.
func (a *absences) now(p peer.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.until[p]
	return ok
}

// did tells that a peer did not answer.
func (a *absences) did(p peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until[p] = a.clock().Add(silence)
}

// back tells that a peer answered.
func (a *absences) back(p peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.until, p)
}
