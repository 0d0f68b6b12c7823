package clusterrpc

// Internals that the tests of this folder use, which are in the package clusterrpc_test:
// the peers of clustertest import this package.

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statewrite"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// Keys of info.
const (
	InfoDetails  = infoDetails
	InfoAttempts = infoAttempts
	InfoUntil    = infoUntil
	InfoKept     = infoKept
)

func (b *Backend) View() *pinset.View         { return b.view }
func (b *Backend) Syncer() *statesync.Syncer  { return b.syncer }
func (b *Backend) Writer() *statewrite.Writer { return b.writer }
func (b *Backend) Poller() *poll.Poller       { return b.poller }
func (b *Backend) Options() Options           { return b.opts }

func (b *Backend) ProbePeer(ctx context.Context) (api.ID, error) { return b.probePeer(ctx) }

// DelegatesOf are the delegates of the pin of a record.
func (b *Backend) DelegatesOf(ctx context.Context, rec api.Pin) []string {
	return b.delegatesOf(ctx, b.tracker.PlacementOf(rec)).List
}

// RemoteReads are the requests for pins that were not known, by how they ended.
func (b *Backend) RemoteReads() map[string]uint64 { return b.remote.Counts() }

// MeasureClocks measures the clocks of the other peers now.
func (b *Backend) MeasureClocks(ctx context.Context) { b.measureClocks(ctx) }
