package boundrpc

import (
	"errors"
	"fmt"
	"io"
)

// maxDepth bounds how deep values contain others.
const maxDepth = 16

// scanner reads MessagePack as far as needed to know how long it is. It holds nothing of it.
type scanner struct {
	limits []Limits // of the messages that are not complete, the current one first
	bytes  int      // of the current one
	values int

	open   []uint64 // how many values are missing in each array and map that is not complete
	raw    uint64   // bytes that are missing of a string or number
	head   int      // bytes that are missing of a length
	kind   kind     // of what has that length
	length uint64
}

type kind byte

const (
	invalid kind = iota
	number       // without a length
	text         // or bytes
	extension
	array
	object
)

// newScanner is for a number of messages, each with its limits.
func newScanner(limits ...Limits) *scanner { return &scanner{limits: limits} }

func (s *scanner) complete() bool { return len(s.limits) == 0 }

// take scans what comes next. It returns how much of that may be decoded, and an error when that is not all of it:
// io.EOF behind the last message.
func (s *scanner) take(b []byte) (int, error) {
	for i := 0; i < len(b); {
		if s.complete() {
			return i, io.EOF
		}
		step := 1
		if s.raw > 0 {
			step = int(min(s.raw, uint64(len(b)-i)))
		}
		if s.bytes += step; s.bytes > s.limits[0].Bytes {
			return i, s.tooLong()
		}
		if err := s.next(b[i], step); err != nil {
			return i, err
		}
		i += step
	}
	return len(b), nil
}

func (s *scanner) tooLong() error {
	return fmt.Errorf("more than %d bytes", s.limits[0].Bytes)
}

// next takes the next byte, or n bytes of a string.
func (s *scanner) next(c byte, n int) error {
	switch {
	case s.raw > 0:
		if s.raw -= uint64(n); s.raw == 0 {
			s.ended()
		}
		return nil
	case s.head > 0:
		s.length = s.length<<8 | uint64(c)
		if s.head--; s.head > 0 {
			return nil
		}
		return s.begin()
	}
	if s.values++; s.values > s.limits[0].Values {
		return s.tooMany()
	}
	s.kind, s.head, s.length = header(c)
	if s.head > 0 {
		return nil
	}
	return s.begin()
}

func (s *scanner) tooMany() error {
	return fmt.Errorf("more than %d values", s.limits[0].Values)
}

// header is what the first byte of a value says: its kind, and the size of its length, or the length.
func header(c byte) (k kind, size int, length uint64) {
	switch {
	case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3: // small numbers, nil, false, true
		return number, 0, 0
	case c <= 0x8f:
		return object, 0, uint64(c & 0x0f)
	case c <= 0x9f:
		return array, 0, uint64(c & 0x0f)
	case c <= 0xbf:
		return text, 0, uint64(c & 0x1f)
	case c >= 0xc4 && c <= 0xc6:
		return text, 1 << (c - 0xc4), 0
	case c >= 0xc7 && c <= 0xc9:
		return extension, 1 << (c - 0xc7), 0
	case c == 0xca, c == 0xcb: // float32, float64
		return number, 0, 4 << (c - 0xca)
	case c >= 0xcc && c <= 0xcf:
		return number, 0, 1 << (c - 0xcc)
	case c >= 0xd0 && c <= 0xd3:
		return number, 0, 1 << (c - 0xd0)
	case c >= 0xd4 && c <= 0xd8: // extensions of a fixed length
		return extension, 0, 1 << (c - 0xd4)
	case c >= 0xd9 && c <= 0xdb:
		return text, 1 << (c - 0xd9), 0
	case c == 0xdc, c == 0xdd:
		return array, 2 << (c - 0xdc), 0
	case c == 0xde, c == 0xdf:
		return object, 2 << (c - 0xde), 0
	default:
		return invalid, 0, 0
	}
}

// begin begins a value whose length is known.
func (s *scanner) begin() error {
	limit := s.limits[0]
	switch s.kind {
	case number:
		return s.skip(s.length)
	case text, extension:
		if s.length > uint64(limit.Field) {
			return fmt.Errorf("a string of more than %d bytes", limit.Field)
		}
		if s.kind == extension {
			s.length++ // its type
		}
		if s.length > uint64(limit.Bytes-s.bytes) {
			return s.tooLong()
		}
		return s.skip(s.length)
	case object:
		s.length *= 2
		fallthrough
	case array:
		switch {
		case s.length > uint64(limit.Values-s.values):
			return s.tooMany()
		case s.length == 0:
			s.ended()
		case len(s.open) == maxDepth:
			return errors.New("nested too deep")
		default:
			s.open = append(s.open, s.length)
		}
		return nil
	default:
		return errors.New("no MessagePack")
	}
}

// skip goes to the end of a value.
func (s *scanner) skip(n uint64) error {
	if s.raw = n; n == 0 {
		s.ended()
	}
	return nil
}

// ended ends a value, and all that it completes.
func (s *scanner) ended() {
	for n := len(s.open); n > 0; n-- {
		if s.open[n-1]--; s.open[n-1] > 0 {
			return
		}
		s.open = s.open[:n-1]
	}
	s.limits, s.bytes, s.values = s.limits[1:], 0, 0
}
