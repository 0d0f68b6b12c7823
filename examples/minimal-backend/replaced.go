package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// keptPin is a pin that was replaced. Clients do not see it, but its content is kept until the
// pin that took its place is pinned.
type keptPin struct {
	requestID string
	key, by   string
}

// replaced keeps the content of one pin for another. It needs the lock.
func (s *store) replaced(key string, old pinsvc.PinStatus, by string) {
	delete(s.pins, key)
	for i := range s.kept {
		if s.kept[i].by == key {
			s.kept[i].by = by
		}
	}
	s.kept = slices.Insert(s.kept, 0, keptPin{old.RequestID, key, by})
	s.release(by)
}

// release gives up what is kept for a pin that is pinned or gone. A store of real content would
// delete it here. It needs the lock.
func (s *store) release(by string) {
	if st, ok := s.pins[by]; !ok || st.Status == pinsvc.StatusPinned {
		s.kept = slices.DeleteFunc(s.kept, func(k keptPin) bool { return k.by == by })
	}
}

// withKept tells in info what is kept for a pin. It needs the lock.
func (s *store) withKept(st pinsvc.PinStatus) pinsvc.PinStatus {
	var kept []string
	for _, k := range s.kept {
		if k.by == pinsvc.PinKey(st.Pin.CID) {
			kept = append(kept, k.requestID)
		}
	}
	if len(kept) == 0 {
		return st
	}
	info := maps.Clone(st.Info)
	if info == nil {
		info = make(map[string]string, 1)
	}
	info["kept"] = strings.Join(kept, ", ")
	st.Info = info
	return st
}
