package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Root is the top folder of the checkout: the nearest one above the folder of
// the test that has a Makefile.
var Root = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "Makefile")); statErr == nil {
			return dir
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		err = os.ErrNotExist
	}
	panic("the tests run from inside a checkout of the project: " + err.Error())
})

// binDir is where the Makefile puts the programs that the tests run.
func binDir() string { return filepath.Join(Root(), binaries) }

// Service is the path of the program under test, built with the race detector
// when this test is.
func Service(t testing.TB) string {
	t.Helper()
	build(t)
	return filepath.Join(binDir(), "ipfs-cluster-pinsvc")
}

// Ipfs is the path of Kubo's program.
func Ipfs(t testing.TB) string {
	t.Helper()
	build(t)
	return filepath.Join(binDir(), "ipfs")
}

// built is the result of the one build of this process.
var built = sync.OnceValues(func() (string, error) {
	// Other test binaries may want the same at the same time.
	if err := os.MkdirAll(binDir(), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(Root(), "bin", ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	cmd := exec.Command("make", "--no-print-directory", "-s", buildTarget)
	cmd.Dir = Root()
	for _, pair := range os.Environ() {
		// The flags of a make that runs this test are not for this one.
		if !strings.HasPrefix(pair, "MAKE") && !strings.HasPrefix(pair, "MFLAGS=") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
})

// build brings the programs up to date once per test process.
func build(t testing.TB) {
	t.Helper()
	if out, err := built(); err != nil {
		t.Fatalf("make %s: %v\n%s", buildTarget, err, out)
	}
}
