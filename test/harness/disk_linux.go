package harness

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is a small file system in memory, which can be full.
type Disk struct {
	Dir string
	h   *Harness
}

// Disk mounts an empty one. It takes the mount namespace that bin/netns gives tests,
// or root.
func (h *Harness) Disk(bytes int64) *Disk {
	h.t.Helper()
	_, dir := h.folder("disk")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
		h.t.Fatalf("mounting a small disk, which takes bin/netns (make test) or root: %v", err)
	}
	// Before the harness stops what uses it, hence lazily.
	h.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return &Disk{Dir: dir, h: h}
}

// Resize changes the size of the disk, which is at least what is on it.
func (d *Disk) Resize(bytes int64) {
	d.h.t.Helper()
	if err := unix.Mount("tmpfs", d.Dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)); err != nil {
		d.h.t.Fatalf("resizing %s: %v", filepath.Base(d.Dir), err)
	}
}

// Free are the free bytes of the disk.
func (d *Disk) Free() int64 {
	d.h.t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Dir, &fs); err != nil {
		d.h.t.Fatal(err)
	}
	return int64(fs.Bavail) * fs.Bsize
}

// Fill leaves at most so many bytes free, with a file that Free removes.
func (d *Disk) Fill(left int64) (remove func()) {
	d.h.t.Helper()
	path := filepath.Join(d.Dir, "filler")
	if n := d.Free() - left; n > 0 {
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			d.h.t.Fatal(err)
		}
	}
	return func() { _ = os.Remove(path) }
}
