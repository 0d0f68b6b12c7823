package divergence

import (
	"fmt"
	"slices"
)

// sentence is what is told of a peer in this state; empty: nothing.
func (s state) sentence(pins int) string {
	switch s {
	case diverged:
		return fmt.Sprintf("its pinset differs from this peer's in at least %d %s, for longer than changes take to arrive", pins, plural(pins, "pin"))
	case catchingUp:
		return "its pinset differs from this peer's, and one of the two is reading what it missed"
	case expired:
		return "its digest of its pinset has expired, so whether it has the same pins is not known: it is away or starts again"
	case noDigest:
		return "it publishes no digest of its pinset, so whether it has the same pins is not known: it runs another program or is not ready"
	case otherName:
		return "its pinset differs from this peer's because it is of another cluster (cluster.cluster_name)"
	case untrusted:
		return "its pinset differs from this peer's, which does not trust it (consensus.crdt.trusted_peers)"
	case distrustful:
		return "its pinset differs from this peer's, and it does not trust this peer (consensus.crdt.trusted_peers there)"
	case unreachable:
		return "its pinset differs from this peer's, and it cannot be asked what it has"
	default:
		return ""
	}
}

// Details are what an operator should attend to, a sentence for each state that peers are
// in. They name no peer: the log does.
func (w *Watcher) Details() (sentences []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts, pins := make(map[state]int), make(map[state]int)
	for _, m := range w.members {
		if m.state == expired && m.missing < expiredAfter {
			continue
		}
		counts[m.state]++
		pins[m.state] = max(pins[m.state], m.diverged)
	}
	states := make([]state, 0, len(counts))
	for s := range counts {
		states = append(states, s)
	}
	slices.Sort(states)
	for _, s := range states {
		if text := s.sentence(pins[s]); text != "" {
			sentences = append(sentences, fmt.Sprintf("%d of %d other %s: %s; the log names them",
				counts[s], len(w.members), plural(len(w.members), "peer"), text))
		}
	}
	return sentences
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// Stats are for metrics.
type Stats struct {
	// Differing peers have another pinset than this one and were examined; Unknown ones
	// have no digest now.
	Differing, Unknown int
	// Pins is the largest number of pins that were found to differ from a peer.
	Pins int
	// Repaired is how many pins were repaired since the start.
	Repaired uint64
}

// Stats returns what was found.
func (w *Watcher) Stats() (s Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Repaired = w.repaired
	for _, m := range w.members {
		switch m.state {
		case unknown, expired, noDigest:
			s.Unknown++
		case diverged, catchingUp, otherName, untrusted, distrustful, unreachable:
			s.Differing++
		}
		s.Pins = max(s.Pins, m.diverged)
	}
	return s
}
