package peer

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	logging "github.com/ipfs/go-log/v2"
	"golang.org/x/sys/unix"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// A file that is mounted by itself, as containers can have one, cannot be replaced. That is told once.
func TestAddressBook_AFileThatCannotBeReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, away, joined := addressHost(t), addressHost(t), addressHost(t)
	before := line(away)
	noError(t, os.WriteFile(path, []byte(before), 0o600))
	if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("mounting a file, which takes bin/netns (make test) or root: %v", err)
	}
	mounted := true
	t.Cleanup(func() {
		if mounted {
			_ = unix.Unmount(path, unix.MNT_DETACH)
		}
	})
	book := opened(t, self, path, speakers)
	connect(t, joined, self)
	awaitIdentified(t, self, joined)

	noError(t, logging.SetLogLevel("peer", "warn"))
	t.Cleanup(func() { noError(t, logging.SetLogLevel("peer", "error")) })
	pipe := logging.NewPipeReader(logging.PipeFormat(logging.PlaintextOutput))
	var lines []string
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
			if strings.Contains(scanner.Text(), path) {
				lines = append(lines, scanner.Text())
			}
		}
	}()
	for range 2*failedSaves + 2 {
		if got := written(t, book); got != before {
			t.Fatalf("%q", got)
		}
	}
	noError(t, pipe.Close())
	await.Closed(t, "the end of the log", read)
	if len(lines) != 1 || !strings.Contains(lines[0], "mount its folder") {
		t.Errorf("%q", lines)
	}

	mounted = false
	noError(t, unix.Unmount(path, 0))
	book.pause = 0
	if got, want := written(t, book), before+line(joined); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
