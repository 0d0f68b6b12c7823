//go:build linux || darwin || freebsd || netbsd

package kubo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockHolder returns the process that holds the lock of the repo, if any does;
// the process is 0 when it is not known. The lock is only read: Kubo takes it.
func lockHolder(repo string) (pid int, held bool, err error) {
	f, err := os.OpenFile(filepath.Join(repo, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	// The same range and kind as the lock that Kubo takes.
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, false, err
	}
	return max(0, int(lock.Pid)), lock.Type != unix.F_UNLCK, nil
}
