package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// onDisk adds pins to a peer, and wants nothing of its store to be in the memory of the system alone when the answer
// is there: that is what a power failure takes. The kernel tells what it has not written yet for each file.
func onDisk(t *testing.T, p *harness.Peer, store string) {
	t.Helper()
	if !tellsUnsynced(t) {
		t.Log("this file system does not tell what it has written: a disk in memory")
		return
	}
	for n := range 10 {
		p.Add(inline(t, fmt.Sprint("on the disk ", n)), "on the disk")
		if files := unsynced(t, filepath.Join(p.Dir, store)); len(files) > 0 {
			t.Errorf("after pin %d was accepted a power failure takes %v", n, files)
		}
	}
}

// tellsUnsynced reports whether this file system shows unsynced writes until they are synced.
func tellsUnsynced(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "probe.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("not synced"); err != nil {
		t.Fatal(err)
	}
	if len(unsynced(t, dir)) == 0 {
		t.Fatal("what is not synced is not seen")
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return len(unsynced(t, dir)) == 0
}

// unsynced are the files of a datastore, or of Raft, that have something that is not on the disk, with how much. A
// snapshot that is being written is none yet.
func unsynced(t *testing.T, folder string) (files []string) {
	t.Helper()
	kinds := []string{".log", ".ldb", ".sst", ".vlog", ".mem", ".db", ".bin", ".json"}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() && filepath.Ext(path) == ".tmp" {
			return fs.SkipDir
		}
		if err != nil || !entry.Type().IsRegular() || !slices.Contains(kinds, filepath.Ext(path)) {
			return err
		}
		kib, err := dirty(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // It was removed meanwhile.
		}
		if kib > 0 {
			files = append(files, fmt.Sprintf("%s: %d KiB", filepath.Base(path), kib))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// dirty is how much of a file is not written to its disk. The kernel tells it of what is mapped, whoever wrote it.
func dirty(path string) (kib int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("mapping %s: %w", path, err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	const page = 4096
	read := byte(0)
	for at := int64(0); ; { // Only what is there: some files are gigabytes of nothing.
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err != nil {
			break
		}
		if at, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE); err != nil {
			return 0, err
		}
		for ; from < min(at, info.Size()); from += page {
			read += mapped[from]
		}
	}
	runtime.KeepAlive(read) // Or the compiler leaves the reads out.
	return dirtyPages(fmt.Sprintf("%x-", &mapped[0]))
}

// dirtyPages reads of the mapping whose line in smaps begins so.
func dirtyPages(begins string) (kib int, err error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	found := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch {
		case strings.HasPrefix(lines.Text(), begins):
			found = true
		case found && strings.Contains(key, "-"): // the next mapping
			return kib, nil
		case found && (key == "Shared_Dirty" || key == "Private_Dirty"):
			n := 0
			if _, err := fmt.Sscan(value, &n); err != nil {
				return 0, err
			}
			kib += n
		}
	}
	if !found {
		return 0, fmt.Errorf("/proc/self/smaps has no mapping %s", begins)
	}
	return kib, nil
}
