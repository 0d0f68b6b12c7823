package kubo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/atomicfile"
)

// Names inside a repo: Kubo's own, and the two stages of making one.
const (
	configFile  = "config"
	versionFile = "version"
	apiFile     = "api"
	lockFile    = "repo.lock"

	makingDir = ".init" // incomplete
	madeDir   = ".made" // complete, being moved into the repo
)

func hasConfig(repo string) bool {
	_, err := os.Lstat(filepath.Join(repo, configFile))
	return err == nil
}

// ensureRepo makes the repo when there is none. initialize runs "ipfs init"
// on a folder.
//
// It survives a crash at any moment: the repo is made in a folder inside of repo
// (which cannot be renamed itself, as it may be a mount point), that folder is
// renamed once it is complete, and its entries are then moved into repo. The
// configuration file, which makes a folder a repo, is moved last. The next call
// completes or repeats what a crash interrupted.
func ensureRepo(ctx context.Context, repo string, initialize func(ctx context.Context, dir string) error) error {
	if hasConfig(repo) {
		return nil
	}
	if err := os.MkdirAll(repo, 0o700); err != nil {
		return fmt.Errorf("the folder of the IPFS repo cannot be made: %w", err)
	}
	making, made := filepath.Join(repo, makingDir), filepath.Join(repo, madeDir)
	if _, err := os.Lstat(made); errors.Is(err, fs.ErrNotExist) {
		if err := refuseIncomplete(repo); err != nil {
			return err
		}
		if err := os.RemoveAll(making); err != nil {
			return fmt.Errorf("what is left of an unfinished IPFS repo cannot be removed: %w", err)
		}
		if err := os.Mkdir(making, 0o700); err != nil {
			return fmt.Errorf("the IPFS repo cannot be made: %w", err)
		}
		if err := initialize(ctx, making); err != nil {
			return err
		}
		if err := syncFiles(making); err != nil {
			return fmt.Errorf("the IPFS repo cannot be made: %w", err)
		}
		if err := atomicfile.Rename(making, made); err != nil {
			return fmt.Errorf("the IPFS repo cannot be made: %w", err)
		}
	}
	if err := moveIntoPlace(made, repo); err != nil {
		return fmt.Errorf("the IPFS repo cannot be made: %w", err)
	}
	return nil
}

// refuseIncomplete fails when repo holds files of a repo without a
// configuration: data whose configuration was lost must not silently get a new
// identity.
func refuseIncomplete(repo string) error {
	for _, name := range []string{"blocks", "datastore", "datastore_spec", "keystore", versionFile} {
		if _, err := os.Lstat(filepath.Join(repo, name)); err == nil {
			return fmt.Errorf("%s holds an incomplete IPFS repo (%s) without the file %q: "+
				"restore that file from a backup, or move the folder away to begin with an empty repo",
				repo, name, configFile)
		}
	}
	return nil
}

func moveIntoPlace(made, repo string) error {
	entries, err := os.ReadDir(made)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		switch configFile {
		case a.Name():
			return 1
		case b.Name():
			return -1
		default:
			return strings.Compare(a.Name(), b.Name())
		}
	})
	for _, entry := range entries {
		if err := atomicfile.Rename(filepath.Join(made, entry.Name()), filepath.Join(repo, entry.Name())); err != nil {
			return err
		}
	}
	return os.Remove(made)
}

// syncFiles writes the small files of a new repo to the disk: after a power
// failure an empty configuration would lose the identity.
func syncFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		if err := atomicfile.Sync(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(dir)
}

// repoVersion reads the version of the repo's format.
func repoVersion(repo string) (int, error) {
	path := filepath.Join(repo, versionFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("the version of the IPFS repo cannot be read: %w", err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("the version of the IPFS repo cannot be read: %s holds %q, not a number", path, raw)
	}
	return version, nil
}
