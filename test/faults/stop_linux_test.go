package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A daemon may end with a failure when it is stopped, if its store is full and it says so.
func TestNode_StopWithAFullStore(t *testing.T) {
	for name, c := range map[string]struct {
		full bool
		last string
		ok   bool
	}{
		"full":              {true, stopWhileFull + " (no space left on device)", true},
		"with space":        {false, stopWhileFull, false},
		"of something else": {true, "error stopping the peer: the lock is gone", false},
		"silent":            {true, "stopped.", false},
	} {
		t.Run(name, func(t *testing.T) {
			n := &node{name: "peer", store: &disk{}, logFile: filepath.Join(t.TempDir(), "log")}
			if c.full {
				n.store.busy.Lock()
			}
			if err := os.WriteFile(n.logFile, []byte("stopping\n"+c.last+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p := &process{cmd: exec.Command("false"), exited: make(chan struct{})}
			if err := p.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			p.err = p.cmd.Wait()
			close(p.exited)
			n.proc = p
			if err := n.stop(); (err == nil) != c.ok {
				t.Errorf("the stop ended with %v", err)
			}
		})
	}
}
