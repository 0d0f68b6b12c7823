//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// SyncDir brings the entries of a folder to the disk, renames among them. Some
// network file systems do not support this; their error is ignored, since the rename
// is in place all the same.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}
