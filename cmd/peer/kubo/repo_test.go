package kubo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRepoVersion_UnreadableFilesAreNamed(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	repo := madeRepo(t, cfg)
	version, config := filepath.Join(repo, versionFile), filepath.Join(repo, configFile)
	whole, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, version, "")
	n := startNode(t, cfg)
	awaitError(t, n, version, "not a number")
	write(t, config, "")
	write(t, version, "18")
	awaitError(t, n, "configuration", config)
	write(t, config, string(whole))
	awaitRunning(t, n)
}

// A making of the repo that stops at any step is completed, or begun anew, by
// the next one.
func TestEnsureRepo_CompletesAHalfMadeRepo(t *testing.T) {
	t.Parallel()
	program := ipfsProgram(t)
	make := func(t *testing.T, repo string) error {
		t.Helper()
		n := idleNode(configIn(filepath.Dir(repo), program))
		return ensureRepo(t.Context(), repo, func(ctx context.Context, dir string) error {
			return n.makeRepo(ctx, program, dir)
		})
	}
	whole := filepath.Join(t.TempDir(), "ipfs")
	if err := make(t, whole); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(whole)
	if err != nil {
		t.Fatal(err)
	}
	identity := kuboConfig(t, whole).get("Identity.PeerID")

	t.Run("stopped while Kubo wrote", func(t *testing.T) {
		repo := filepath.Join(t.TempDir(), "ipfs")
		if err := os.MkdirAll(filepath.Join(repo, makingDir, "blocks"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(repo, makingDir, configFile), "{")
		if err := make(t, repo); err != nil {
			t.Fatal(err)
		}
		if id := kuboConfig(t, repo).get("Identity.PeerID"); id == nil {
			t.Error("no identity")
		}
	})
	for moved := range len(entries) {
		repo := filepath.Join(t.TempDir(), "ipfs")
		if err := os.CopyFS(filepath.Join(repo, madeDir), os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		stopAfter(t, repo, moved)
		if err := make(t, repo); err != nil {
			t.Fatalf("stopped after %d moves: %v", moved, err)
		}
		if got := kuboConfig(t, repo).get("Identity.PeerID"); got != identity {
			t.Errorf("stopped after %d moves: identity %v, want %v", moved, got, identity)
		}
		now, err := os.ReadDir(repo)
		if err != nil || len(now) != len(entries) {
			t.Errorf("stopped after %d moves: %v (%v), want %v", moved, now, err, entries)
		}
	}
}

// stopAfter moves as many entries of a made repo into their place as a crash
// may have let happen.
func stopAfter(t *testing.T, repo string, moves int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(repo, madeDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if moves == 0 {
			return
		}
		if entry.Name() == configFile {
			continue // the last to move
		}
		if err := os.Rename(filepath.Join(repo, madeDir, entry.Name()), filepath.Join(repo, entry.Name())); err != nil {
			t.Fatal(err)
		}
		moves--
	}
}

func TestEnsureRepo_RefusesAnIncompleteRepo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	repo := madeRepo(t, cfg)
	config := filepath.Join(repo, configFile)
	if err := os.Rename(config, config+".lost"); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, cfg)
	awaitError(t, n, repo, `without the file "config"`, "backup")
	if err := os.Rename(config+".lost", config); err != nil {
		t.Fatal(err)
	}
	awaitRunning(t, n)
}

func TestEnsureRepo_FailureLeavesNoRepo(t *testing.T) {
	t.Parallel()
	repo := filepath.Join(t.TempDir(), "ipfs")
	full := errors.New("no space left on device")
	err := ensureRepo(t.Context(), repo, func(context.Context, string) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	if hasConfig(repo) {
		t.Error("there is a repo")
	}
}
