//go:build !linux

package pinsvcapi

import "errors"

// pending is for Linux.
func pending(deadliner) (halfOpen int, waiting bool, err error) {
	return 0, false, errors.ErrUnsupported
}
