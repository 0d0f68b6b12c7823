// Package atomicfile replaces files as a whole, or not at all: after a crash,
// a full disk or a power failure a reader finds either the old content or the
// new one. The new content is written beside the file, brought to the disk and
// renamed over it, and the rename itself is brought to the disk too.
//
// It is written by hand: google/renameio does not sync the folder after the
// rename, which a power failure may then undo, and does not build on Windows.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write replaces the file at path by what write produces, with that mode. When
// write fails the file stays as it was.
//
// A path that is a symbolic link stays one. A path that leads to something
// else than a regular file, such as /dev/stdout or a named pipe, cannot be
// replaced and is written to directly.
func Write(path string, mode fs.FileMode, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return writeInto(path, write)
	}
	return Replace(path, mode, func(tmp string) error { return writeInto(tmp, write) })
}

// disk is how files and folders are brought to the disk.
type disk struct{ syncFile, syncDir func(path string) error }

func systemDisk() disk { return disk{syncFile: Sync, syncDir: SyncDir} }

// WriteFile is Write of bytes that are at hand.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	return Write(path, mode, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Replace replaces the file at path by one that save writes at another path in
// the same folder. It is for savers that take a path; Write is simpler.
func Replace(path string, mode fs.FileMode, save func(tmp string) error) error {
	return systemDisk().replace(path, mode, save)
}

func (d disk) replace(path string, mode fs.FileMode, save func(tmp string) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	// CreateTemp's mode is 0600: nobody else can read a half-written file.
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // Fails after the rename, as it should.
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := save(tmp.Name()); err != nil {
		return err
	}
	if err := os.Chmod(tmp.Name(), mode); err != nil {
		return err
	}
	if err := d.syncFile(tmp.Name()); err != nil {
		return fmt.Errorf("writing %s to the disk: %w", path, err)
	}
	return d.rename(tmp.Name(), path)
}

// Rename renames a file or folder and brings the change to the disk. The file's
// content must be there already.
func Rename(from, to string) error { return systemDisk().rename(from, to) }

func (d disk) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	folders := []string{filepath.Dir(to)}
	if old := filepath.Dir(from); old != folders[0] {
		folders = append(folders, old)
	}
	for _, folder := range folders {
		if err := d.syncDir(folder); err != nil {
			return fmt.Errorf("writing the folder %s to the disk: %w", folder, err)
		}
	}
	return nil
}

// Sync brings the content of a file to the disk.
func Sync(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func writeInto(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(f)
	if err := errors.Join(write(buf), buf.Flush()); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
