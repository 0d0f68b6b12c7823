package pinsvc

import (
	"fmt"
	"strings"
)

// Status is the spec's status of a pin. The zero value is none of them.
type Status uint8

// The four statuses of the specification.
const (
	StatusQueued Status = iota + 1
	StatusPinning
	StatusPinned
	StatusFailed
)

// ParseStatus reads the wire form of a status.
func ParseStatus(s string) (Status, error) {
	switch s {
	case "queued":
		return StatusQueued, nil
	case "pinning":
		return StatusPinning, nil
	case "pinned":
		return StatusPinned, nil
	case "failed":
		return StatusFailed, nil
	default:
		return 0, fmt.Errorf("%s is none of queued, pinning, pinned, failed", quote(s))
	}
}

// String is the wire form of the status, or "undefined" for what is none.
func (s Status) String() string {
	switch s {
	case StatusQueued:
		return "queued"
	case StatusPinning:
		return "pinning"
	case StatusPinned:
		return "pinned"
	case StatusFailed:
		return "failed"
	default:
		return "undefined"
	}
}

// MarshalText returns the wire form, in JSON a string. It fails for a value that
// is no status: boxo's client rejects a whole list for one unknown word.
func (s Status) MarshalText() ([]byte, error) {
	if !AllStatuses.Has(s) {
		return nil, fmt.Errorf("status %d has no wire form", uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText is ParseStatus for JSON.
func (s *Status) UnmarshalText(text []byte) error {
	parsed, err := ParseStatus(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// StatusSet is a filter: a set of statuses. The zero value is the empty set.
type StatusSet uint8

// AllStatuses matches every pin.
const AllStatuses = StatusSet(1<<StatusQueued | 1<<StatusPinning | 1<<StatusPinned | 1<<StatusFailed)

// SetOf returns the set of the given statuses. Values that are no status are left
// out.
func SetOf(statuses ...Status) StatusSet {
	var set StatusSet
	for _, s := range statuses {
		set |= 1 << s
	}
	return set & AllStatuses
}

// Has reports whether s is in the set.
func (set StatusSet) Has(s Status) bool { return s != 0 && set&(1<<s) != 0 }

// Statuses are the members of the set, in the order of the specification.
func (set StatusSet) Statuses() []Status {
	var statuses []Status
	for s := StatusQueued; s <= StatusFailed; s++ {
		if set.Has(s) {
			statuses = append(statuses, s)
		}
	}
	return statuses
}

// String is the form of a status parameter: the statuses separated by commas.
func (set StatusSet) String() string {
	var words []string
	for _, s := range set.Statuses() {
		words = append(words, s.String())
	}
	return strings.Join(words, ",")
}
