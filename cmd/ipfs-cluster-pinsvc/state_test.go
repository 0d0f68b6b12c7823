package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

// engines are the arguments of init for every kind of state.
func engines() [][]string {
	return [][]string{
		{"--consensus", "crdt"},
		{"--consensus", "crdt", "--datastore", "leveldb"},
		{"--consensus", "crdt", "--datastore", "badger"},
		{"--consensus", "crdt", "--datastore", "badger3"},
		{"--consensus", "raft"},
	}
}

// eachEngine runs a test on an initialized peer of every kind.
func eachEngine(t *testing.T, test func(t *testing.T, s *shell, args []string)) {
	t.Parallel()
	for _, args := range engines() {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.must(append([]string{"init"}, args...)...)
			test(t, s, args)
		})
	}
}

// pins is an export of pins with all that a pin can have.
func pins(t *testing.T, n int) string {
	t.Helper()
	cids := []string{
		"QmbrCtydGyPeHiLURSPMqrvE5mCgMCwFYq3UD4XLCeAYw6",
		"bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
		"bafkqablimvwgy3y",
	}
	var lines strings.Builder
	for i := range n {
		pin := map[string]any{
			"cid": cids[i], "name": fmt.Sprintf("pin “%d”", i), "type": "pin", "mode": "recursive", "max_depth": -1,
			"replication_factor_min": 1, "replication_factor_max": 2, "allocations": []string{peerID},
			"origins":   []string{otherPeer},
			"metadata":  map[string]string{"a": "b", "pinsvc.created": "2026-01-02T15:04:05.678Z"},
			"timestamp": "2026-01-02T15:04:05Z",
		}
		line, err := json.Marshal(pin)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	return lines.String()
}

// sortedExport is the export with its lines in order: a state has none.
func (s *shell) sortedExport() string { s.t.Helper(); return sorted(s.must("state", "export")) }

func TestState_GoesFromOneProgramToTheOther(t *testing.T) {
	eachEngine(t, func(t *testing.T, ours *shell, args []string) {
		service := upstream(t)
		theirs := newShell(t)
		theirs.runBinary(service, "", append([]string{"init"}, args...)...)
		writeText(t, ours.home+"/pins", pins(t, 3))

		ours.must("state", "import", "-f", "pins")
		exported := ours.must("state", "export")
		if n := strings.Count(exported, "\n"); n != 3 {
			t.Fatalf("3 pins imported, exported:\n%s", exported)
		}
		for _, text := range []string{"pin “1”", "pinsvc.created", otherPeer, peerID} {
			if !strings.Contains(exported, text) {
				t.Errorf("%q got lost:\n%s", text, exported)
			}
		}

		// From ours to theirs, and what they export is the same, byte by byte.
		if r := theirs.runBinary(service, exported, "state", "import", "-f"); r.code != 0 {
			t.Fatalf("ipfs-cluster-service cannot import it: %s", r.errOut)
		}
		r := theirs.runBinary(service, "", "state", "export", "--file", "export")
		if r.code != 0 || sorted(readText(t, theirs.home+"/export")) != sorted(exported) {
			t.Errorf("ours:\n%s\ntheirs:\n%s%s", exported, readText(t, theirs.home+"/export"), r.errOut)
		}

		// Each program on the folder of the other.
		if r := theirs.run("state", "export"); sorted(r.out) != sorted(exported) {
			t.Errorf("we read their folder as:\n%s%s", r.out, r.errOut)
		}
		if r := ours.runBinary(service, "", "state", "export"); sorted(r.out) != sorted(exported) {
			t.Errorf("they read our folder as:\n%s%s", r.out, r.errOut)
		}

		// And back again, after a cleanup.
		ours.must("state", "cleanup", "-f")
		if out := ours.must("state", "export"); out != "" {
			t.Errorf("after the cleanup there is %s", out)
		}
		writeText(t, ours.home+"/back", readText(t, theirs.home+"/export"))
		ours.must("state", "import", "--force", "back")
		if got := ours.sortedExport(); got != sorted(exported) {
			t.Errorf("came back as:\n%s", got)
		}
	})
}

func TestStateImport_Replaces(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	s.answer(pins(t, 3), "state", "import", "-f")
	s.answer(pins(t, 1), "state", "import", "-f")
	if n := strings.Count(s.must("state", "export"), "\n"); n != 1 {
		t.Errorf("%d pins", n)
	}
}

// What cannot be imported leaves the pinset as it was.
func TestStateImport_OfNonsense(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *shell, _ []string) {
		s.answer(pins(t, 2), "state", "import", "-f")
		before := s.sortedExport()
		for name, content := range map[string]string{
			"not JSON":       "not exactly json",
			"a good one too": pins(t, 1) + "{\"cid\":",
			"no CID":         pins(t, 1) + `{"name":"x"}`,
			"a bad CID":      `{"cid":"bafynonsense"}`,
		} {
			writeText(t, s.home+"/bad", content)
			if r := s.run("state", "import", "-f", "bad"); r.code != 1 || !strings.Contains(r.errOut, "error importing state: pin ") {
				t.Errorf("%s: exit code %d, %s", name, r.code, r.errOut)
			}
		}
		if r := s.run("state", "import", "-f", "nowhere"); r.code != 1 {
			t.Errorf("no file: exit code %d", r.code)
		}
		if got := s.sortedExport(); got != before {
			t.Errorf("before:\n%safter:\n%s", before, got)
		}
		if files := glob(t, s.path("*.tmp")); len(files) != 0 {
			t.Errorf("left behind: %v", files)
		}
	})
}

// A pin of an export from before pins had types is a whole DAG.
func TestStateImport_OfOldExports(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	s.answer(`{"cid":"QmbrCtydGyPeHiLURSPMqrvE5mCgMCwFYq3UD4XLCeAYw6","name":"","allocations":[],`+
		`"replication_factor_min":-1,"replication_factor_max":-1}`, "state", "import", "-f")
	out := s.must("state", "export")
	for _, text := range []string{`"type":"pin"`, `"mode":"recursive"`, `"max_depth":-1`} {
		if !strings.Contains(out, text) {
			t.Errorf("want %s in %s", text, out)
		}
	}
}

func TestStateImport_ChangesPins(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	writeText(t, s.home+"/pins", pins(t, 1))
	for _, c := range []struct{ args, want string }{
		{"--rmin 3 --rmax 4", `"replication_factor_min":3,"replication_factor_max":4`},
		{"--replication-min 2 --replication-max 2", `"replication_factor_min":2,"replication_factor_max":2`},
		{"--allocs " + otherPeerID, `"allocations":["` + otherPeerID + `"]`},
		{"--allocations " + otherPeerID + "," + peerID, `"allocations":["` + otherPeerID + `","` + peerID + `"]`},
	} {
		// Flags after the argument, as upstream takes them too.
		s.must(append([]string{"state", "import", "pins", "-f"}, strings.Fields(c.args)...)...)
		if out := s.must("state", "export"); !strings.Contains(out, c.want) {
			t.Errorf("%s: want %s in %s", c.args, c.want, out)
		}
	}
	if r := s.run("state", "import", "-f", "--allocs", "somebody", "pins"); r.code != 1 {
		t.Errorf("an allocation that is no peer ID: exit code %d", r.code)
	}
}

func TestState_Prompts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, stdin string
		args        []string
		left        int
	}{
		{"cleanup, no", "n\n", []string{"cleanup"}, 2},
		{"cleanup, nothing", "", []string{"cleanup"}, 2},
		{"cleanup, yes", "y\n", []string{"cleanup"}, 0},
		{"import, no", "n\n" + pins(t, 1), []string{"import"}, 2},
		{"import, nothing", "", []string{"import"}, 2},
		{"import, yes and then the pins", "y\n" + pins(t, 1), []string{"import"}, 1},
		{"import, yes and a file", "yes\n", []string{"import", "pins"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.must("init")
			writeText(t, s.home+"/pins", pins(t, 3))
			s.answer(pins(t, 2), "state", "import", "-f")
			r := s.answer(c.stdin, append([]string{"state"}, c.args...)...)
			if r.code != 0 || !strings.Contains(r.out, "Continue? [y/n]: ") {
				t.Errorf("exit code %d, %s%s", r.code, r.out, r.errOut)
			}
			if n := strings.Count(s.must("state", "export"), "\n"); n != c.left {
				t.Errorf("%d pins are left, want %d", n, c.left)
			}
		})
	}
}

// Only one program at a time works on a folder, whichever of the two.
func TestState_IsLocked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	lock, err := peer.Lock(peer.FilesIn(s.path("")))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"state export", "state import -f", "state cleanup -f", "state crdt info", "state crdt dot",
		"state crdt mark-dirty", "init -f", "daemon",
	} {
		if r := s.run(strings.Fields(args)...); r.code != 1 || !strings.Contains(r.errOut, "lock") {
			t.Errorf("%s: exit code %d, %s", args, r.code, r.errOut)
		}
	}
	if r := s.runBinary(upstream(t), "", "state", "export"); r.code != 1 || !strings.Contains(r.errOut, "lock") {
		t.Errorf("ipfs-cluster-service: exit code %d, %s", r.code, r.errOut)
	}
	s.must("config", "check")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	s.must("state", "export")
}

func TestStateExport_ThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	s.answer(pins(t, 1), "state", "import", "-f")
	for _, file := range []string{"no/such/folder", "/dev/full"} {
		if r := s.run("state", "export", "-f", file); r.code != 1 {
			t.Errorf("%s: exit code %d", file, r.code)
		}
	}
}

// An export replaces the previous backup once it is complete, readable by its
// owner only.
func TestStateExport_KeepsThePreviousBackup(t *testing.T) {
	t.Parallel()
	p := newProgram(strings.NewReader(""), io.Discard, io.Discard)
	backup := filepath.Join(t.TempDir(), "backup")
	writeText(t, backup, "the previous backup")
	if err := os.Chmod(backup, 0o644); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err := p.writeOutput(backup, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("half of a pin ", 10_000))
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) || readText(t, backup) != "the previous backup" {
		t.Errorf("a failed export gives %v and leaves %q", err, readText(t, backup))
	}
	err = p.writeOutput(backup, func(w io.Writer) error {
		_, err := io.WriteString(w, "all pins")
		return err
	})
	if err != nil || readText(t, backup) != "all pins" {
		t.Errorf("an export gives %v and leaves %q", err, readText(t, backup))
	}
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if files := glob(t, filepath.Join(filepath.Dir(backup), "*")); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestStateCRDT_Commands(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	s.answer(pins(t, 2), "state", "import", "-f")
	for _, step := range []struct{ args, want string }{
		{"info", "Number of heads: 1. Current max-height: 1. Dirty: false\nHeads: [baf"},
		{"mark-dirty", "Datastore marked 'dirty'\n"},
		{"info", "Dirty: true"},
		{"mark-clean", "Datastore marked 'clean'\n"},
		{"info", "Dirty: false"},
		{"dot", "digraph CRDTDAG {"},
	} {
		if out := s.must("state", "crdt", step.args); !strings.Contains(out, step.want) {
			t.Errorf("%s: want %q in\n%s", step.args, step.want, out)
		}
	}
	s.must("state", "crdt", "dot", "--file", "dag.dot")
	if text := readText(t, s.home+"/dag.dot"); !strings.HasSuffix(strings.TrimSpace(text), "}") {
		t.Errorf("not a whole graph:\n%s", text)
	}

	// Both programs see the same store.
	service := upstream(t)
	for _, command := range []string{"info", "dot"} {
		theirs := s.runBinary(service, "", "state", "crdt", command)
		if ours := s.must("state", "crdt", command); strings.TrimSpace(ours) != strings.TrimSpace(theirs.out) {
			t.Errorf("%s: ours\n%s\ntheirs\n%s", command, ours, theirs.out)
		}
	}
}

func TestStateCRDT_OfRaft(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--consensus", "raft")
	for _, command := range []string{"info", "dot", "mark-dirty", "mark-clean"} {
		if r := s.run("state", "crdt", command); r.code != 1 || !strings.Contains(r.errOut, "raft") {
			t.Errorf("%s: exit code %d, %s", command, r.code, r.errOut)
		}
	}
}

// A cleaned up Raft state is kept in a backup folder, as upstream does.
func TestStateCleanup_OfRaftKeepsABackup(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--consensus", "raft")
	s.answer(pins(t, 1), "state", "import", "-f")
	s.must("state", "cleanup", "-f")
	entries, err := os.ReadDir(s.path(""))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "raft.old") }) {
		t.Errorf("no backup among %v", entries)
	}
}
