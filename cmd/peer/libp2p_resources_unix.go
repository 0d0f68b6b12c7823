//go:build unix

package peer

import (
	"math"

	"golang.org/x/sys/unix"
)

// fileLimit is how many files this process may have open.
func fileLimit() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return uint64(limit.Cur)
}
