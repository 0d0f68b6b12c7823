//go:build !linux && !darwin && !freebsd && !netbsd

package kubo

// lockHolder cannot be asked here; Kubo itself says when its repo is locked.
func lockHolder(string) (pid int, held bool, err error) { return 0, false, nil }
