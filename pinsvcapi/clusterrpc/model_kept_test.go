package clusterrpc_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// This file has what the model of model_test.go knows of replaced pins (D6). A pin that was
// replaced is kept, with the status that it had, for those that name it.

// replaced enters that one pin has taken the place of another, and inherits what that keeps.
func (m *model) replaced(old, by string) {
	if m.names[by] == nil {
		m.names[by] = make(map[string]bool)
	}
	maps.Copy(m.names[by], m.names[old])
	m.names[by][old] = true
	delete(m.names[by], by)
	m.kept[old] = m.pins[old].status
	delete(m.pins, old)
}

// requested enters that a pin is wanted for its own sake. What it has replaced it keeps.
func (m *model) requested(id string) {
	delete(m.kept, id)
	for _, names := range m.names {
		delete(names, id)
	}
}

// keeps reports whether anything is kept for a pin.
func (m *model) keeps(by string) bool {
	for id := range m.names[by] {
		if _, kept := m.kept[id]; kept {
			return true
		}
	}
	return false
}

// deleted waits until a pin is given up, and with it what was kept for no other.
func (m *model) deleted(id string) {
	m.t.Helper()
	m.giveUp(m.due(func(by string) bool { return by == id }))
	delete(m.names, id)
	m.forget(id)
	m.release()
}

// release waits until what is not needed any more is given up: what was kept for pins that are
// pinned, and what has failed itself and has replaced others, which are kept.
func (m *model) release() {
	m.t.Helper()
	m.giveUp(m.due(func(by string) bool { return m.pins[by].status == pinsvc.StatusPinned }))
	for _, id := range slices.Sorted(maps.Keys(m.kept)) {
		if m.kept[id] == pinsvc.StatusFailed && m.keeps(id) && m.namedWith(id) {
			m.giveUp([]string{id})
		}
	}
}

// namedWith reports whether all that name a pin name what that has replaced as well.
func (m *model) namedWith(id string) bool {
	for by := range m.namers(id) {
		for old := range m.names[id] {
			if _, kept := m.kept[old]; kept && !m.names[by][old] {
				return false
			}
		}
	}
	return true
}

func (m *model) giveUp(ids []string) {
	m.t.Helper()
	for _, id := range ids {
		delete(m.kept, id)
	}
	for _, id := range ids {
		delete(m.names, id)
		m.forget(id)
	}
}

// due are the pins that are kept for nobody who needs them.
func (m *model) due(releases func(by string) bool) (due []string) {
	for _, id := range slices.Sorted(maps.Keys(m.kept)) {
		if m.isDue(id, releases) {
			due = append(due, id)
		}
	}
	return due
}

func (m *model) isDue(id string, releases func(by string) bool) bool {
	newer := m.withNewer(id)
	for by := range m.namers(id) {
		_, kept := m.kept[by]
		switch {
		case newer[by]:
		case kept && !m.isDue(by, releases):
			return false
		case !kept && !releases(by):
			return false
		}
	}
	return true
}

// namers are the pins that name one: visible ones, and such as are kept themselves.
func (m *model) namers(id string) map[string]bool {
	found := make(map[string]bool)
	for by, names := range m.names {
		if names[id] {
			found[by] = true
		}
	}
	return found
}

// withNewer are the pins that can do without one because what has replaced it is pinned and kept.
func (m *model) withNewer(id string) map[string]bool {
	found := make(map[string]bool)
	for by := range m.namers(id) {
		status, kept := m.kept[by]
		switch {
		case !kept:
		case status == pinsvc.StatusPinned:
			found[by] = true
			maps.Copy(found, m.above(by))
		default:
			maps.Copy(found, m.withNewer(by))
		}
	}
	return found
}

// above are all that have replaced a pin, directly or not.
func (m *model) above(id string) map[string]bool {
	found := m.namers(id)
	for by := range m.namers(id) {
		if _, kept := m.kept[by]; kept {
			maps.Copy(found, m.above(by))
		}
	}
	return found
}

// keptAreThere is nil when everything that is kept is in the state.
func (m *model) keptAreThere() error {
	for id := range m.kept {
		if _, err := m.peer.Cluster.PinGet(m.t.Context(), api.NewCid(mustCID(m.t, id))); err != nil {
			return fmt.Errorf("%s is kept: %w", id, err)
		}
	}
	return nil
}
