package poll

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// A client that reads a pinned pin wants to know that it is there now, so the peers that
// should hold it are asked, unless they confirmed it not long ago (Config.MaxAge). What a
// peer confirmed when is known from two places:
//
//   - recent has the answers to questions about single pins, of 65,536 at most;
//   - scanned has the pins that the last scan of a peer found pinned, 8 bytes a pin, and
//     when the scan began. It is kept for as long as it can tell something.
//
// A question about one pin costs a peer about a millisecond: its IPFS node gets a request
// of its own. In a scan a pin costs a few microseconds, a hundredth or less. So a peer is
// scanned when clients ask for so many different pins in MaxAge that the questions would
// cost more than a scan (scanShare), and again before its last scan is too old, for as
// long as they do. At a million pins a scan takes longer than MaxAge and would be too old
// when it ends: from a quarter of MaxAge on (scanTime) no scan is made for this. Few
// requests cause none either. A scan for this is bounded by half of MaxAge, each peer has
// its own, and a request never waits for it.
const (
	scanShare = 100
	scanTime  = 4
)

// confirmations are what peers confirmed not long ago.
type confirmations struct {
	seed maphash.Seed

	mu    sync.Mutex
	peers map[peer.ID]*confirmedPeer
}

type confirmedPeer struct {
	scanned  atomic.Pointer[scanResult]
	scanning atomic.Bool

	mu     sync.Mutex
	window time.Time // when it began
	asked  map[uint64]struct{}
	hot    bool // the window before was worth a scan
}

// scanResult has the hashes of the pins that a complete scan found pinned, sorted.
type scanResult struct {
	began  time.Time
	pinned []uint64
}

func newConfirmations() *confirmations {
	return &confirmations{seed: maphash.MakeSeed(), peers: make(map[peer.ID]*confirmedPeer)}
}

func (c *confirmations) of(id peer.ID) *confirmedPeer {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.peers[id]
	if !ok {
		p = &confirmedPeer{asked: make(map[uint64]struct{})}
		c.peers[id] = p
	}
	return p
}

func (c *confirmations) hash(key cid.Cid) uint64 { return maphash.String(c.seed, key.KeyString()) }

// Confirmed reports whether so many peers confirmed a pinned pin within MaxAge that it can
// be said to be pinned without asking them. While some holder has neither confirmed it ever
// nor given up, the holders are asked, so that the number of replicas is as it is.
func (p *Poller) Confirmed(row pinset.Pin) bool {
	if p.cfg.MaxAge <= 0 || row.Status != pinsvc.StatusPinned {
		return false
	}
	holders, required := p.cfg.Tracker.Holders(row.Placement)
	hash, confirmed := p.confirmed.hash(row.CID), 0
	m := pinset.Mutable{Placement: row.Placement, Vector: row.Vector}
	for _, id := range holders {
		switch st, _ := p.cfg.Tracker.PeerState(m, id); st {
		case peerstatus.Pinned, peerstatus.Rewritten, peerstatus.Failed:
		default:
			return false
		}
	}
	for _, id := range p.pollTargets(holders, required) {
		if st, _ := p.cfg.Tracker.PeerState(m, id); st == peerstatus.Pinned && p.confirmedAt(id, row.CID, hash) {
			if confirmed++; confirmed == required {
				return true
			}
		}
	}
	return false
}

func (p *Poller) confirmedAt(id peer.ID, key cid.Cid, hash uint64) bool {
	at := p.confirmed.of(id)
	now := p.cfg.Now()
	p.wanted(id, at, hash, now)
	if scan := at.scanned.Load(); scan != nil {
		if age := now.Sub(scan.began); age < 0 || age >= p.cfg.MaxAge {
			at.scanned.CompareAndSwap(scan, nil)
		} else if _, ok := slices.BinarySearch(scan.pinned, hash); ok {
			return true
		}
	}
	return p.recent.within(p.recent.id(key, id), p.cfg.MaxAge)
}

// wanted counts the different pins that clients want to have confirmed by a peer, and scans
// the peer when they are many.
func (p *Poller) wanted(id peer.ID, at *confirmedPeer, hash uint64, now time.Time) {
	worth := max(p.cfg.View.Len()/scanShare, scanShare)
	at.mu.Lock()
	if age := now.Sub(at.window); age < 0 || age >= p.cfg.MaxAge {
		at.hot = age < 2*p.cfg.MaxAge && age >= 0 && len(at.asked) >= worth
		at.window = now
		clear(at.asked)
	}
	if len(at.asked) < worth {
		at.asked[hash] = struct{}{}
	}
	many := at.hot || len(at.asked) >= worth
	at.mu.Unlock()
	if !many || at.scanning.Load() {
		return
	}
	took, known := p.scans.took(id)
	if !known || took > p.cfg.MaxAge/scanTime {
		return
	}
	// The next one has ended, as a rule, before the last one is too old.
	if scan := at.scanned.Load(); scan != nil && now.Sub(scan.began) < p.cfg.MaxAge-2*took {
		return
	}
	if !at.scanning.CompareAndSwap(false, true) {
		return
	}
	if !p.cfg.Tasks.Go(func(ctx context.Context) {
		defer at.scanning.Store(false)
		ctx, cancel := context.WithTimeout(ctx, p.cfg.MaxAge/2)
		defer cancel()
		if !p.responds(ctx, id) {
			return
		}
		if err := p.Scan(ctx, id); err != nil {
			log.Debugf("scan of peer %s for pins that clients read: %s", id, err)
		}
	}) {
		at.scanning.Store(false)
	}
}

// scanEnded keeps what a complete scan found.
func (p *Poller) scanEnded(id peer.ID, began time.Time, pinned []uint64) {
	if p.cfg.MaxAge <= 0 || p.cfg.Now().Sub(began) >= p.cfg.MaxAge {
		return
	}
	slices.Sort(pinned)
	p.confirmed.of(id).scanned.Store(&scanResult{began, slices.Clip(pinned)})
}
