package peer

import (
	"context"
	"errors"
	"slices"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-datastore"
)

// steps notes what was done in which order, by a consensus and by its store.
type steps struct {
	ipfscluster.Consensus
	datastore.Datastore
	done             []string
	logFails, synced error
}

func (s *steps) LogPin(context.Context, api.Pin) error {
	s.done = append(s.done, "pin")
	return s.logFails
}

func (s *steps) LogUnpin(context.Context, api.Pin) error {
	s.done = append(s.done, "unpin")
	return s.logFails
}

func (s *steps) Sync(context.Context, datastore.Key) error {
	s.done = append(s.done, "sync")
	return s.synced
}

func TestSyncedCRDT_ChangesAreOnTheDiskWhenAccepted(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		inner steps
		want  []string
		fails bool
	}{
		"both are well":       {want: []string{"pin", "sync", "unpin", "sync"}},
		"the consensus fails": {inner: steps{logFails: broken}, want: []string{"pin", "unpin"}, fails: true},
		"the disk fails":      {inner: steps{synced: broken}, want: []string{"pin", "sync", "unpin", "sync"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner := &test.inner
			d := syncedCRDT{Consensus: inner, store: inner}
			for _, log := range []func(context.Context, api.Pin) error{d.LogPin, d.LogUnpin} {
				if err := log(t.Context(), api.Pin{}); (err != nil) != test.fails || (test.fails && !errors.Is(err, broken)) {
					t.Errorf("want a failure: %t, got %v", test.fails, err)
				}
			}
			if !slices.Equal(inner.done, test.want) {
				t.Errorf("want %v, did %v", test.want, inner.done)
			}
		})
	}
}
