package peer

import (
	"fmt"
	"os"
	"path/filepath"
)

// replaceFile lets save write a file beside path and then puts it in its
// place, with mode 0600, so that a crash or a full disk leaves the old one
// whole. A path that is a symbolic link stays one.
func replaceFile(path string, save func(path string) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	// CreateTemp's mode is 0600; save truncates and keeps it.
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := save(tmp.Name()); err != nil {
		return err
	}
	if err := syncFile(tmp.Name()); err != nil {
		return fmt.Errorf("writing %s to the disk: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
