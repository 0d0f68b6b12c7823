package pinning

import (
	"context"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

// Storage measures the storage of the IPFS node.
type Storage struct {
	rpc *kuborpc.Client
	// free returns the free bytes of the file system that holds the repo; nil: not
	// known.
	free func() (uint64, bool)
}

// NewStorage returns the storage of a node. free returns the free bytes of the file
// system of its repo, if that is known; nil for a node on another machine, of which
// only what leaves the repo can be seen.
func NewStorage(rpc *kuborpc.Client, free func() (uint64, bool)) Storage {
	return Storage{rpc: rpc, free: free}
}

// usage is the state of a storage at one moment.
type usage struct {
	repo      uint64 // bytes in the repo
	free      uint64
	freeKnown bool
}

func (s Storage) usage(ctx context.Context) (usage, error) {
	u := s.onDisk()
	var stat struct{ RepoSize uint64 }
	if err := s.rpc.Call(ctx, "repo/stat", map[string][]string{"size-only": {"true"}}, &stat); err != nil {
		return u, err
	}
	u.repo = stat.RepoSize
	return u, nil
}

// onDisk is what is known without a request.
func (s Storage) onDisk() (u usage) {
	if s.free != nil {
		u.free, u.freeKnown = s.free()
	}
	return u
}
