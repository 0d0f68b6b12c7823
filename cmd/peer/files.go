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

// Files names the configuration and the identity of one peer. All other files
// of the peer (datastore, Raft log, peerstore, the managed Kubo's repository,
// the lock) are in the folder of Config unless the configuration names another
// path.
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

// Folder is the folder of the peer's data.
func (f Files) Folder() string { return filepath.Dir(f.Config) }

// Lock takes the execution lock of the peer and makes its folder (mode 0700) if
// there is none. It is the lock of ipfs-cluster-service, so that the two
// programs exclude each other. It fails at once when another process, or
// another peer of this process, holds the lock.
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
	// Its file must stay: the lock ends with its process, and with another file two of them could run.
	return fmt.Sprintf("Another process uses %s: stop it, and wait until it has ended", f.Folder())
}
