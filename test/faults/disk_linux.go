package faults

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// disk is a small filesystem in memory that can be full.
type disk struct {
	path string
	busy sync.Mutex // held while it is full
}

// diskSize bounds what one disk takes of the machine's memory.
const diskSize = 1 << 30

// newDisk mounts an empty disk at path. The mount is seen in the mount namespace
// of this process only.
func newDisk(path string) (*disk, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskSize)); err != nil {
		return nil, fmt.Errorf("mounting a tmpfs at %s: %w", path, err)
	}
	return &disk{path: path}, nil
}

// fill leaves no space: the disk is made as small as what is on it.
func (d *disk) fill() error {
	var err error
	for range 20 { // Something may be written between the two calls.
		var st unix.Statfs_t
		if err = unix.Statfs(d.path, &st); err != nil {
			return err
		}
		used := (int64(st.Blocks) - int64(st.Bfree)) * st.Bsize
		if err = d.resize(max(used, st.Bsize)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("filling %s: %w", d.path, err)
}

// empty gives the disk its space again.
func (d *disk) empty() error { return d.resize(diskSize) }

// isFull reports whether the disk has no space left.
func (d *disk) isFull() bool {
	if d.busy.TryLock() {
		d.busy.Unlock()
		return false
	}
	return true
}

func (d *disk) resize(size int64) error {
	return unix.Mount("tmpfs", d.path, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size))
}

func (d *disk) unmount() error { return unix.Unmount(d.path, unix.MNT_DETACH) }
