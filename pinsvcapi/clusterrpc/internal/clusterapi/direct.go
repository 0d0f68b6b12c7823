package clusterapi

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
)

// Consensus is the part of an ipfscluster.Consensus that a write needs. Its methods return when
// their context ends.
type Consensus interface {
	State(ctx context.Context) (state.ReadOnly, error)
	LogPin(ctx context.Context, pin api.Pin) error
	LogUnpin(ctx context.Context, pin api.Pin) error
}

// Direct returns a client whose PinGet, LogPin and LogUnpin call the peer's consensus component as
// the RPC services of the peer do, without these, which take as long as a read of the state. nil: by
// the services.
func (c Client) Direct(consensus Consensus) Client {
	c.consensus = consensus
	return c
}

func (c Client) directGet(ctx context.Context, key api.Cid) (api.Pin, error) {
	st, err := c.consensus.State(ctx)
	if err != nil {
		return api.Pin{}, err
	}
	return st.Get(ctx, key)
}
