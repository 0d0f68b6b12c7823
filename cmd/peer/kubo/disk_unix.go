//go:build linux || darwin || freebsd

package kubo

import "syscall"

// diskSize returns the bytes of the file system that holds dir.
func diskSize(dir string) (uint64, bool) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, false
	}
	return uint64(fs.Blocks) * uint64(fs.Bsize), true
}
