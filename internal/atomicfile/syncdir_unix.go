//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// SyncDir brings the entries of a folder to the disk, renames among them. Some
// network file systems cannot do that and say so; the rename stands there too.
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
