package faults

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDisk_IsFullUntilItIsEmptied(t *testing.T) {
	d, err := newDisk(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.unmount() }()
	put := func(name string) error { return os.WriteFile(filepath.Join(d.path, name), make([]byte, 1<<20), 0o600) }
	if err := put("a"); err != nil {
		t.Fatal(err)
	}
	if err := d.fill(); err != nil {
		t.Fatal(err)
	}
	if err := put("b"); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing to a full disk: %v", err)
	}
	if err := d.empty(); err != nil {
		t.Fatal(err)
	}
	if err := put("b"); err != nil {
		t.Error(err)
	}
}
