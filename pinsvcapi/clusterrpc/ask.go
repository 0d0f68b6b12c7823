package clusterrpc

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/adder/sharding"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

// silence is how long a peer that did not answer in time is taken to be away
// before it is asked again, so that a page costs one wait and not one for
// each of its pins.
const silence = 5 * time.Second

// status asks the peers that should hold the pin and makes one status of what
// they say. members are those of this request.
func (b *Backend) status(ctx context.Context, rec api.Pin, members []peer.ID) (verdict, error) {
	if rec.Type == api.MetaType {
		return b.shardedStatus(ctx, rec, members)
	}
	should := holders(rec, members)
	if everywhere(rec) {
		should = append(slices.Clip(should), b.missed.holding(b.book, rec, members)...)
	}
	reports := make([]report, len(should))
	var wg sync.WaitGroup
	for i, p := range should {
		wg.Go(func() { reports[i] = b.ask(ctx, rec, p) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return verdict{}, failure(err, "ask for the status of the pin")
	}
	byPeer := make(map[peer.ID]report, len(should))
	for i, p := range should {
		byPeer[p] = reports[i]
	}
	return judge(enough(rec), should, byPeer), nil
}

// ask returns what one peer says of a pin, or what it said last.
func (b *Backend) ask(ctx context.Context, rec api.Pin, p peer.ID) report {
	if b.away.is(p) {
		return b.book.recalled(rec, p)
	}
	call, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	info, err := b.cluster.trackerStatus(call, p, rec.Cid)
	if err != nil {
		if ctx.Err() == nil && p != b.self {
			log.Debugf("peer %s says nothing of pin %s: %s", p, rec.Cid, err)
			b.away.did(p)
		}
		return b.book.recalled(rec, p)
	}
	b.away.back(p)
	report, retry := b.book.heard(rec, p, info)
	if retry {
		b.recovery.ask(p, rec.Cid)
	}
	return report
}

// shardedStatus makes the status of a sharded root from those of its parts:
// the index of the shards and each shard.
func (b *Backend) shardedStatus(ctx context.Context, root api.Pin, members []peer.ID) (verdict, error) {
	parts, err := b.parts(ctx, root)
	if err != nil {
		if ctx.Err() != nil {
			return verdict{}, failure(ctx.Err(), "read the parts of the pin")
		}
		log.Debugf("parts of sharded pin %s: %s", root.Cid, err)
		v := whole(nil)
		v.reason = "the list of the shards cannot be read now"
		return v, nil
	}
	verdicts := make([]verdict, 0, len(parts))
	for _, part := range parts {
		v, err := b.status(ctx, part, members)
		if err != nil {
			return verdict{}, err
		}
		verdicts = append(verdicts, v)
	}
	return whole(verdicts), nil
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

// members are the peers of the cluster in a stable order, this one included.
func (b *Backend) members(ctx context.Context) ([]peer.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StateTimeout)
	defer cancel()
	members, err := b.cluster.members(ctx)
	if err != nil {
		return nil, failure(err, "read the list of the cluster's peers")
	}
	members = slices.Clone(members) // It may be the consensus component's own.
	slices.Sort(members)
	members = slices.Compact(members)
	b.missed.saw(members)
	return members, nil
}

// memberFor is how long a peer counts that was a member. Under CRDT a peer
// that is away is soon no member any more, but it holds what it held; one
// that was taken out of the cluster looks the same.
const memberFor = time.Hour

// missed remembers when each peer was last a member.
type missed struct {
	now func() time.Time

	mu   sync.Mutex
	last map[peer.ID]time.Time
}

func newMissed(now func() time.Time) *missed {
	return &missed{now: now, last: make(map[peer.ID]time.Time)}
}

// saw tells who the members are.
func (m *missed) saw(members []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, p := range members {
		m.last[p] = now
	}
	for p, at := range m.last {
		if now.Sub(at) > memberFor {
			delete(m.last, p)
		}
	}
}

// holding are the peers that are members no more and said last that they hold
// a pin that is pinned everywhere.
func (m *missed) holding(book *book, rec api.Pin, members []peer.ID) (holding []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.last) == len(members) {
		return nil
	}
	for p := range m.last {
		if !slices.Contains(members, p) && book.recalled(rec, p).standing == standingHolds {
			holding = append(holding, p)
		}
	}
	slices.Sort(holding)
	return holding
}

// absences remembers which peers did not answer in time.
type absences struct {
	now func() time.Time

	mu    sync.Mutex
	until map[peer.ID]time.Time
}

func newAbsences(now func() time.Time) *absences {
	return &absences{now: now, until: make(map[peer.ID]time.Time)}
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
	now := a.now()
	if now.Before(until) {
		return true
	}
	a.until[p] = now.Add(silence)
	return false
}

// did tells that a peer did not answer.
func (a *absences) did(p peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until[p] = a.now().Add(silence)
}

// back tells that a peer answered.
func (a *absences) back(p peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.until, p)
}
