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

// FreeSpace returns the free bytes of the file system that holds dir, as far as they
// are for this process, or false when they are not known.
func FreeSpace(dir string) (uint64, bool) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, false
	}
	return uint64(max(int64(fs.Bavail), 0)) * uint64(fs.Bsize), true
}
