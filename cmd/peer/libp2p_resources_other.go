//go:build !unix

package peer

import "math"

// fileLimit is how many files this process may have open.
func fileLimit() uint64 { return math.MaxInt32 }
