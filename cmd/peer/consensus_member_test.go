package peer

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
)

// membersConsensus has the members that a test says.
type membersConsensus struct {
	ipfscluster.Consensus
	members []libp2ppeer.ID
	err     error
}

func (c *membersConsensus) Peers(context.Context) ([]libp2ppeer.ID, error) { return c.members, c.err }

func TestMemberConsensus(t *testing.T) {
	const self, other libp2ppeer.ID = "self", "other"
	inner := &membersConsensus{members: []libp2ppeer.ID{other, self}}
	c := &memberConsensus{Consensus: inner, self: self}
	is := func(when string, want ...libp2ppeer.ID) {
		t.Helper()
		if got, err := c.Peers(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	is("a member", other, self)
	c.hold(t.Context(), nil) // The cluster is not waited for.
	is("a member that is stopped", other, self)
	inner.members = []libp2ppeer.ID{other}
	is("removed by the stop", other, self)
	inner.err = errors.New("no leader")
	if _, err := c.Peers(t.Context()); err == nil {
		t.Error("an error is hidden")
	}
}

// A cluster that has seen that it was removed shuts itself down, and is given a moment for that.
func TestMemberConsensus_RemovedBefore(t *testing.T) {
	c := &memberConsensus{Consensus: &membersConsensus{members: []libp2ppeer.ID{"other"}}, self: "self"}
	if got, err := c.Peers(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("a removed peer is a member: %v, %v", got, err)
	}
	began := time.Now()
	c.hold(t.Context(), &ipfscluster.Cluster{})
	if took := time.Since(began); took < removedWait {
		t.Errorf("the cluster was given %s", took)
	}
}
