package kubo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindBinary_BesideOursThenInPath(t *testing.T) {
	dir := t.TempDir()
	beside, inPath, linked := filepath.Join(dir, "bin"), filepath.Join(dir, "path"), filepath.Join(dir, "linked")
	for _, d := range []string{beside, inPath, linked} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", inPath)
	own := filepath.Join(beside, "ipfs-cluster-pinsvc")
	program(t, own)
	link := filepath.Join(linked, "ipfs-cluster-pinsvc")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{}
	_, err := findBinary(cfg, own)
	for _, part := range []string{filepath.Join(beside, "ipfs"), "PATH", "make", "binary_path"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not tell of %q: %v", part, err)
		}
	}
	for _, step := range []struct{ adds, own, finds string }{
		{filepath.Join(inPath, "ipfs"), own, filepath.Join(inPath, "ipfs")},
		{filepath.Join(beside, "ipfs"), own, filepath.Join(beside, "ipfs")},
		{filepath.Join(dir, "unused"), link, filepath.Join(beside, "ipfs")},
	} {
		program(t, step.adds)
		if got, err := findBinary(cfg, step.own); err != nil || got != step.finds {
			t.Errorf("found %s (%v), want %s", got, err, step.finds)
		}
	}
}

func TestFindBinary_NamedProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	program(t, filepath.Join(dir, "kubo"))
	cfg := &Config{}
	cfg.SetBaseDir(dir)
	for _, name := range []string{"kubo", "./kubo", filepath.Join(dir, "kubo")} {
		cfg.BinaryPath = name
		got, err := findBinary(cfg, "")
		if name == "./kubo" { // one of the folder of service.json, not of ours
			cfg.BinaryPath = "sub/../kubo"
			got, err = findBinary(cfg, "")
		}
		if err != nil || got != filepath.Join(dir, "kubo") {
			t.Errorf("%s: found %s (%v)", name, got, err)
		}
	}
	write(t, filepath.Join(dir, "data"), "")
	for name, part := range map[string]string{"sub/ipfs": "no ipfs program at " + filepath.Join(dir, "sub", "ipfs"),
		filepath.Join(dir, "data"): "may not be executed"} {
		cfg.BinaryPath = name
		if _, err := findBinary(cfg, ""); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
