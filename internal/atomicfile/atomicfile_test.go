package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// errBroken is a write that fails half-way.
var errBroken = errors.New("no space left on device")

func half(w io.Writer) error {
	if _, err := io.WriteString(w, "half of the new"); err != nil {
		return err
	}
	return errBroken
}

func expect(t *testing.T, path, want string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil || string(content) != want {
		t.Errorf("%s holds %q (%v), want %q", path, content, err, want)
	}
}

// expectOnly fails when anything but the named entries is in the folder.
func expectOnly(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Errorf("%s holds %v, want %v", folder, entries, names)
	}
}

func TestWrite(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	for _, content := range []string{"first", "second, which is longer", ""} {
		if err := WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		expect(t, path, content)
	}
	expectOnly(t, folder, "file")
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o640 {
		t.Errorf("the mode is %v (%v)", info.Mode(), err)
	}
}

func TestWrite_NarrowsTheModeOfTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("the mode is %v (%v)", info.Mode(), err)
	}
}

func TestWrite_LeavesTheOldFileWhenItFails(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, 0o600, half); !errors.Is(err, errBroken) {
		t.Errorf("Write returned %v", err)
	}
	expect(t, path, "old")
	err := Replace(path, 0o600, func(tmp string) error {
		return errors.Join(os.WriteFile(tmp, []byte("half"), 0o600), errBroken)
	})
	if !errors.Is(err, errBroken) {
		t.Errorf("Replace returned %v", err)
	}
	expect(t, path, "old")
	expectOnly(t, folder, "file")
}

func TestWrite_MakesNoFileWhenItFails(t *testing.T) {
	folder := t.TempDir()
	if err := Write(filepath.Join(folder, "file"), 0o600, half); !errors.Is(err, errBroken) {
		t.Errorf("Write returned %v", err)
	}
	expectOnly(t, folder)
	if err := WriteFile(filepath.Join(folder, "none", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a folder that is not there returned %v", err)
	}
	if err := WriteFile(folder, nil, 0o600); err == nil {
		t.Error("a folder was replaced by a file")
	}
}

func TestWrite_KeepsASymbolicLink(t *testing.T) {
	folder := t.TempDir()
	target, link := filepath.Join(folder, "target"), filepath.Join(folder, "link")
	if err := WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, target, "new")
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link became %v (%v)", info.Mode(), err)
	}
}

func TestRename_MovesBetweenFolders(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	if err := WriteFile(from, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	expect(t, to, "content")
	if err := Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renaming what is not there returned %v", err)
	}
}

// syncedDisk is a disk that notes what is synced, in order, with the content that
// the file at path has then.
type syncedDisk struct {
	path  string
	calls []string
	err   error // Of syncDir.
}

func (s *syncedDisk) disk() disk {
	note := func(kind string) func(string) error {
		return func(path string) error {
			content, err := os.ReadFile(s.path)
			if err != nil {
				content = []byte("nothing")
			}
			s.calls = append(s.calls, kind+" with "+string(content))
			if kind == "file" {
				return nil
			}
			s.calls = append(s.calls, path)
			return s.err
		}
	}
	return disk{syncFile: note("file"), syncDir: note("folder")}
}

// The new content is brought to the disk before the rename, and the folder after
// it.
func TestReplace_SyncsTheFileAndThenTheFolder(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	synced := &syncedDisk{path: path}
	save := func(tmp string) error { return os.WriteFile(tmp, []byte("new"), 0o600) }
	if err := synced.disk().replace(path, 0o600, save); err != nil {
		t.Fatal(err)
	}
	if want := []string{"file with old", "folder with new", folder}; !slices.Equal(synced.calls, want) {
		t.Errorf("synced %q, want %q", synced.calls, want)
	}
}

func TestRename_SyncsBothFolders(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(from, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	synced := &syncedDisk{path: to}
	if err := synced.disk().rename(from, to); err != nil {
		t.Fatal(err)
	}
	want := []string{"folder with content", filepath.Dir(to), "folder with content", filepath.Dir(from)}
	if !slices.Equal(synced.calls, want) {
		t.Errorf("synced %q, want %q", synced.calls, want)
	}
	synced.err = errBroken
	if err := synced.disk().rename(to, from); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), filepath.Dir(from)) {
		t.Errorf("with a folder that cannot be synced: %v", err)
	}
}

// The exported functions use the functions that really sync.
func TestSystemDisk(t *testing.T) {
	address := func(f func(string) error) uintptr { return reflect.ValueOf(f).Pointer() }
	d := systemDisk()
	if address(d.syncFile) != address(Sync) || address(d.syncDir) != address(SyncDir) {
		t.Error("the system's disk syncs nothing")
	}
}

// Nothing else of this project renames files: a rename without a sync of the
// folder is lost when the power fails.
func TestRename_IsTheOnlyOne(t *testing.T) {
	root := filepath.Join("..", "..")
	checked := 0
	for _, top := range []string{"cmd", "config", "internal", "pinsvcapi"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			checked++
			content, err := os.ReadFile(path)
			if strings.Contains(string(content), "os.Rename(") && filepath.Base(path) != "atomicfile.go" {
				t.Errorf("%s renames a file by itself", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checked < 50 {
		t.Errorf("only %d files were checked", checked)
	}
}
