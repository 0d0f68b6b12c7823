package pinsvc

// Status is the spec's status of a pin. The zero value is none of them.
type Status uint8

// The four statuses of the specification.
const (
	StatusQueued Status = iota + 1
	StatusPinning
	StatusPinned
	StatusFailed
)

// StatusSet is a filter: a set of statuses. The zero value is the empty set.
type StatusSet uint8

// AllStatuses matches every pin.
const AllStatuses = StatusSet(1<<StatusQueued | 1<<StatusPinning | 1<<StatusPinned | 1<<StatusFailed)

// SetOf returns the set of the given statuses.
func SetOf(statuses ...Status) StatusSet {
	var set StatusSet
	for _, s := range statuses {
		set |= 1 << s
	}
	return set
}

// Has reports whether s is in the set.
func (set StatusSet) Has(s Status) bool { return s != 0 && set&(1<<s) != 0 }

// String is the wire form of the status.
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
