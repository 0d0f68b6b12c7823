package boundrpc

import (
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
)

// stream is one of which no more is read than what its limits allow.
type stream struct {
	network.Stream
	scan *scanner
	err  error // ends all reads
	// took is called with the number of bytes of each read, and ends the stream with its error; nil: not called.
	took func(n int) error
	// complete is called once when all of the message is there; nil: not called.
	complete func()
	// refused is called when the stream is ended.
	refused func(error)
}

// Read reads what may be decoded. It is called by one goroutine at a time.
func (s *stream) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.Stream.Read(b)
	ok, bad := s.scan.take(b[:n])
	if bad == nil && s.took != nil {
		if bad = s.took(n); bad != nil {
			ok = 0
		}
	}
	if s.scan.complete() && s.complete != nil {
		s.complete()
		s.complete = nil
	}
	switch {
	case errors.Is(bad, io.EOF): // What comes after the message is not looked at.
		s.err = io.EOF
	case bad != nil:
		s.err = fmt.Errorf("%w: %w", ErrRefused, bad)
		s.refused(s.err)
		_ = s.Reset()
	default:
		return n, err
	}
	return ok, s.err
}
