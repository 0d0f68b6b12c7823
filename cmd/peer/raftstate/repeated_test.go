//go:build !race || nocheckptr

package raftstate

import (
	"context"
	"errors"
	"sync"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// lossy loses the first response to a write, after it was committed.
type lossy struct {
	ipfscluster.Consensus
	once      sync.Once
	meanwhile func()
}

func (l *lossy) lose() (err error) {
	l.once.Do(func() {
		l.meanwhile()
		err = errors.New("the response was lost")
	})
	return err
}

func (l *lossy) LogPin(ctx context.Context, pin api.Pin) error {
	if err := l.Consensus.LogPin(ctx, pin); err != nil {
		return err
	}
	return l.lose()
}

func (l *lossy) LogUnpin(ctx context.Context, pin api.Pin) error {
	if err := l.Consensus.LogUnpin(ctx, pin); err != nil {
		return err
	}
	return l.lose()
}

// A write whose response was lost was repeated, in the place of what another peer had accepted since.
func TestConsensus_AWriteThatWasCommittedIsNotRepeated(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	others := without(all, leader(t, all))
	at, elsewhere := others[0], others[1]
	for n, write := range map[int]func() error{
		0: func() error { return at.ours.LogPin(t.Context(), version(0, "first")) },
		1: func() error { return at.ours.LogUnpin(t.Context(), version(1, "")) },
	} {
		noError(t, again(func() error { return at.ours.LogPin(t.Context(), version(n, "before")) }))
		inner := at.ours.Consensus
		at.ours.Consensus = &lossy{Consensus: inner, meanwhile: func() {
			noError(t, again(func() error { return elsewhere.ours.LogPin(t.Context(), version(n, "newer")) }))
		}}
		noError(t, write())
		at.ours.Consensus = inner
		noError(t, again(func() error { return elsewhere.ours.LogPin(t.Context(), version(n+10, "last")) }))
		for _, m := range all {
			await.Success(t, "all entries", func() error { return m.named(n+10, "last") })
			noError(t, m.named(n, "newer"))
		}
	}
}
