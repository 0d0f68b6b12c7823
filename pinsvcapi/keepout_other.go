//go:build !linux

package pinsvcapi

import "errors"

// keepOut is for Linux.
func keepOut(deadliner) error { return errors.ErrUnsupported }
