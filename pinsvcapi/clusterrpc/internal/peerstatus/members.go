package peerstatus

import (
	"slices"
	"time"
)

// departedFor is how long a former member still counts for pins that are pinned
// everywhere, unless members stay. Under CRDT an unreachable peer soon is no member
// any more, but it keeps what it holds; the membership does not distinguish such a
// peer from one that was removed from the cluster.
const departedFor = time.Hour

// memberList knows the members of the cluster by number, and those that left not
// long ago. It is guarded by the lock of Placements.
type memberList struct {
	stay      bool  // see Config.MembersStay
	current   []int // in the order of the IDs
	departed  []int
	isCurrent []bool
	lastSeen  []time.Time
}

// grow makes room for one more peer.
func (m *memberList) grow() {
	m.isCurrent = append(m.isCurrent, false)
	m.lastSeen = append(m.lastSeen, time.Time{})
}

func (m *memberList) set(numbers []int, now time.Time) (changed bool) {
	clear(m.isCurrent)
	for _, n := range numbers {
		m.isCurrent[n] = true
		m.lastSeen[n] = now
	}
	var departed []int
	for n, last := range m.lastSeen {
		if !m.stay && !m.isCurrent[n] && !last.IsZero() && now.Sub(last) <= departedFor {
			departed = append(departed, n)
		}
	}
	if m.current != nil && slices.Equal(numbers, m.current) && slices.Equal(departed, m.departed) {
		return false
	}
	m.current, m.departed = numbers, departed
	return true
}
