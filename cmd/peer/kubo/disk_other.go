//go:build !linux && !darwin && !freebsd

package kubo

// diskSize is not implemented here; Kubo's own limit stays.
func diskSize(string) (uint64, bool) { return 0, false }

// FreeSpace is not implemented for this system.
func FreeSpace(string) (uint64, bool) { return 0, false }
