package peerstatus

import (
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// maxPresenceGap is the longest time between two reports of presence that says something
// about the peers. After a longer one this peer itself was frozen, and heard nobody.
const maxPresenceGap = time.Minute

// presence is which peers are away: they have not responded for so long that what they
// confirmed is no copy any more, although the status of their pins stays (D5). It is guarded
// by the lock of Placements.
type presence struct {
	entered time.Time
	heard   []time.Time // by number of the peer
	away    []bool
}

// isAway reports whether a peer is away.
func (p *presence) isAway(number int) bool { return number < len(p.away) && p.away[number] }

// setPresence enters which peers respond now. A peer that never responded is away that long
// after it was first known.
func (s *Placements) setPresence(responding []peer.ID, after time.Duration, now time.Time) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range responding {
		s.number(id)
	}
	p := &s.presence
	gap := now.Sub(p.entered)
	if p.entered.IsZero() || 0 <= gap && gap <= maxPresenceGap {
		gap = 0
	}
	p.entered = now
	for n := range p.heard {
		p.heard[n] = p.heard[n].Add(gap)
	}
	for len(p.heard) < len(s.peers) {
		p.heard, p.away = append(p.heard, now), append(p.away, false)
	}
	for _, id := range responding {
		p.heard[s.numbers[id]] = now
	}
	for n, heard := range p.heard {
		if away := now.Sub(heard) >= after; away != p.away[n] {
			p.away[n], changed = away, true
		}
	}
	if changed {
		s.summaries.Purge()
	}
	return changed
}

// maxAwayNamed bounds the peers that a text names.
const maxAwayNamed = 3

// describeAway names the holders that are away; it needs the lock.
func (s *Placements) describeAway(away []int) string {
	if len(away) == 0 {
		return ""
	}
	var names []string
	for _, n := range away[:min(len(away), maxAwayNamed)] {
		names = append(names, fmt.Sprintf("%s since %s", s.peers[n], s.presence.heard[n].UTC().Format(time.RFC3339)))
	}
	if more := len(away) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%d of the peers that should hold the pin have not responded for api.pinsvcapi.replica_away_after: %s",
		len(away), strings.Join(names, ", "))
}

// SetPresence enters which peers respond now; this peer is one of them. Peers that are not
// among them for after are away: what they confirmed counts for the status of a pin, and is
// no replica. It is called every few seconds.
func (t *Tracker) SetPresence(responding []peer.ID, after time.Duration) (changed bool) {
	return t.placements.setPresence(responding, after, t.cfg.Now())
}

// Away reports whether a peer is away.
func (t *Tracker) Away(id peer.ID) bool {
	t.placements.mu.RLock()
	defer t.placements.mu.RUnlock()
	n, ok := t.placements.numbers[id]
	return ok && t.placements.presence.isAway(n)
}

// Shortage counts the pinned pins that have fewer replicas than peers that should hold them
// (wanted), and than make a pin pinned (required): replicas of peers that are away do not
// count. It reads the whole view.
func (t *Tracker) Shortage() (wanted, required int) {
	type lack struct{ wanted, required bool }
	known := make(map[summaryKey]lack)
	t.view.ForEach(pinsvc.SetOf(pinsvc.StatusPinned), func(_ string, m pinset.Mutable) bool {
		key := summaryKey{m.Placement, m.Vector}
		l, ok := known[key]
		if !ok {
			sum := t.placements.summary(m.Placement, m.Vector)
			_, need := t.placements.holders(m.Placement)
			l = lack{sum.Pinned < sum.Holders, sum.Pinned < need && sum.Holders > 0}
			known[key] = l
		}
		if l.wanted {
			wanted++
		}
		if l.required {
			required++
		}
		return true
	})
	return wanted, required
}
