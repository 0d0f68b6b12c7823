package divergence

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
)

// examine finds rows that differ.
func (w *Watcher) examine(ctx context.Context, id peer.ID, m *member) {
	if !w.cfg.Trusted(ctx, id) {
		w.postpone(id, m, untrusted)
		return
	}
	theirs, err := w.description(ctx, id)
	if err != nil {
		log.Debugf("%s", err)
		w.postpone(id, m, unreachable)
		return
	}
	switch {
	case !theirs.Trusted:
		w.postpone(id, m, distrustful)
		return
	case theirs.ClusterName != w.cfg.ClusterName:
		w.postpone(id, m, otherName)
		return
	case theirs.Unfinished > 0 || w.cfg.Elements != nil && w.cfg.Elements.Unfinished() > 0:
		// What is on its way is no divergence.
		w.postpone(id, m, catchingUp)
		return
	}
	suspects, err := w.suspects(ctx, id, theirs.Buckets)
	switch {
	case err != nil:
		log.Debugf("comparing the pinset with that of peer %s: %s", id, err)
		w.postpone(id, m, unreachable)
	case len(suspects) == 0:
		w.postpone(id, m, differing)
	default:
		w.mu.Lock()
		defer w.mu.Unlock()
		m.suspects, m.asked, m.confirm = suspects, time.Now(), confirmAfter
	}
}

// postpone notes a state, and when the peer is examined next.
func (w *Watcher) postpone(id peer.ID, m *member, s state) {
	w.mu.Lock()
	m.differed, m.suspects = 0, nil
	if s == differing {
		m.needed = min(2*m.needed, maxSamples) // The cluster is busy.
	}
	w.mu.Unlock()
	w.enter(id, s, 0)
}

// suspects are the rows that differ in some of the buckets that differ.
func (w *Watcher) suspects(ctx context.Context, id peer.ID, theirs []digest.Digest) ([]suspect, error) {
	mine, err := w.cfg.Pinset.CurrentBuckets()
	if err != nil {
		return nil, err
	}
	var buckets []int
	var rows uint64
	if len(theirs) != len(mine) {
		return nil, nil
	}
	for _, b := range rand.Perm(len(mine)) { // Every time others are first.
		if mine[b] == theirs[b] {
			continue
		}
		rows += max(mine[b].Count, theirs[b].Count)
		if len(buckets) > 0 && rows > maxRows/2 {
			break
		}
		buckets = append(buckets, b)
	}
	if len(buckets) == 0 {
		return nil, nil
	}
	own, err := w.cfg.Pinset.InBuckets(ctx, buckets, maxRows)
	if err != nil {
		return nil, err
	}
	others, err := w.rows(ctx, id, buckets)
	if err != nil {
		return nil, err
	}
	return compare(own, others), nil
}

// compare returns the rows that are not the same on both sides.
func compare(own, others []digest.Row) (list []suspect) {
	there := make(map[string]digest.Row, len(others))
	for _, row := range others {
		there[row.Key] = row
	}
	size := 0
	add := func(s suspect) {
		key := len(s.mine.Key)
		if len(list) < maxSuspects && key <= maxKey && size+key <= maxKeys/2 {
			list, size = append(list, s), size+key
		}
	}
	for _, row := range own {
		other, ok := there[row.Key]
		delete(there, row.Key)
		switch {
		case !ok:
			add(suspect{row, digest.Row{Key: row.Key, Absent: true}})
		case other != row:
			add(suspect{row, other})
		}
	}
	for _, row := range there {
		add(suspect{digest.Row{Key: row.Key, Absent: true}, row})
	}
	return list
}

// confirm looks at the suspects again. Those that have changed since are no divergence.
func (w *Watcher) confirm(ctx context.Context, id peer.ID, m *member) {
	w.mu.Lock()
	suspects := m.suspects
	w.mu.Unlock()
	theirs, err := w.rowsOf(ctx, id, keysOf(suspects))
	if err != nil {
		log.Debugf("%s", err)
		w.postpone(id, m, unreachable)
		return
	}
	var confirmed []suspect
	for i, s := range suspects {
		mine, err := w.cfg.Pinset.Row(ctx, s.mine.Key)
		if err == nil && mine == s.mine && theirs[i] == s.theirs {
			confirmed = append(confirmed, s)
		}
	}
	if len(confirmed) == 0 {
		w.postpone(id, m, differing)
		return
	}
	w.mu.Lock()
	m.suspects, m.differed, m.needed = nil, 0, samples
	w.mu.Unlock()
	w.enter(id, diverged, len(confirmed))
	w.repair(ctx, id, confirmed)
}

// names are the CIDs of some keys, for the log.
func names(keys []string) string {
	const shown = 5
	text := make([]string, 0, shown)
	for _, key := range keys[:min(len(keys), shown)] {
		text = append(text, cidOf(key))
	}
	if len(keys) > shown {
		text = append(text, "…")
	}
	return strings.Join(text, ", ")
}
