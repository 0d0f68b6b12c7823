//go:build !linux && !darwin && !freebsd && !netbsd

package kubo

// lockHolder is not implemented here; Kubo reports a locked repo itself.
func lockHolder(string) (pid int, held bool, err error) { return 0, false, nil }
