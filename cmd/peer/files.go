package peer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	fslock "github.com/ipfs/go-fs-lock"
)

// Names of the files in a peer's folder, those of ipfs-cluster-service.
const (
	ConfigFile   = "service.json"
	IdentityFile = "identity.json"
	lockFile     = "cluster.lock"
)

// Files names the configuration and the identity of one peer. Whatever else
// the peer keeps (datastore, Raft log, peerstore, the managed Kubo's
// repository, the lock) is in the folder of Config unless the configuration
// says otherwise.
type Files struct {
	Config, Identity string
}

// FilesIn returns the files of the peer whose folder that is, under their
// usual names.
func FilesIn(folder string) Files {
	return Files{
		Config:   filepath.Join(folder, ConfigFile),
		Identity: filepath.Join(folder, IdentityFile),
	}
}

// Folder is where the peer keeps its data.
func (f Files) Folder() string { return filepath.Dir(f.Config) }

// Lock takes the execution lock of the peer, making its folder (mode 0700) if
// there is none. It is the lock of ipfs-cluster-service, so that neither
// program runs on a folder which the other one uses. It fails at once when
// another process, or another peer of this process, holds it.
func Lock(f Files) (io.Closer, error) {
	if err := os.MkdirAll(f.Folder(), 0o700); err != nil {
		return nil, fmt.Errorf("making the peer's folder: %w", err)
	}
	lock, err := fslock.Lock(f.Folder(), lockFile)
	if err != nil {
		return nil, fmt.Errorf("obtaining the execution lock: %w. %s", err, lockAdvice(f, err))
	}
	return lock, nil
}

func lockAdvice(f Files, err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("Let this user write to %s and to all that is in it", f.Folder())
	}
	return fmt.Sprintf("Another peer runs on %s: stop it first, or, if there is none, remove %s",
		f.Folder(), filepath.Join(f.Folder(), lockFile))
}
