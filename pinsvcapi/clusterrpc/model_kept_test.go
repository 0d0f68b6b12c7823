package clusterrpc_test

import "github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"

// This file has what the model of model_test.go knows of replaced pins.

// modelKept is a pin that another has replaced and whose content is kept for that one.
type modelKept struct {
	by     string
	status pinsvc.Status
}

// replaced enters that one pin has taken the place of another.
func (m *model) replaced(old, by string) {
	for id, k := range m.kept {
		if k.by == old {
			m.kept[id] = modelKept{by, k.status}
		}
	}
	m.kept[old] = modelKept{by, m.pins[old].status}
	delete(m.pins, old)
}

// release waits until what was kept for a pin is given up, if the pin is pinned or gone.
func (m *model) release(by string) {
	m.t.Helper()
	if p, ok := m.pins[by]; ok && p.status != pinsvc.StatusPinned {
		return
	}
	for id, k := range m.kept {
		if k.by == by {
			delete(m.kept, id)
			m.forget(id)
		}
	}
}

// keeps reports whether anything is kept for a pin.
func (m *model) keeps(by string) bool {
	for _, k := range m.kept {
		if k.by == by {
			return true
		}
	}
	return false
}
