package clusterrpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// slowDisk is a datastore whose batches take some time to be committed.
type slowDisk struct {
	datastore.Batching
	takes time.Duration
}

type slowBatch struct {
	datastore.Batch
	takes time.Duration
}

func (d slowDisk) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := d.Batching.Batch(ctx)
	return slowBatch{b, d.takes}, err
}

func (b slowBatch) Commit(ctx context.Context) error {
	time.Sleep(b.takes) // The fault: a slow disk.
	return b.Batch.Commit(ctx)
}

// In ipfs-cluster-service with batches a change is accepted before it is committed, and its hook
// comes before the state shows it: much longer than a batch may be old when the disk is slow. A
// client reads its own writes all that time.
func TestEmbedded_OwnWritesAreReadWhileABatchIsCommitted(t *testing.T) {
	t.Parallel()
	const batchAge, commit, pins = 400 * time.Millisecond, 1500 * time.Millisecond, 8
	p := clustertest.Start(t, 1, clustertest.Options{
		BatchAge: batchAge, Datastore: slowDisk{dssync.MutexWrap(datastore.NewMapDatastore()), commit},
	})[0]
	p.Node.SetAddresses("/ip4/1.2.3.4/tcp/4001")
	s := service{newBackend(t, p, clusterrpc.Options{BatchAge: batchAge}), t, p}
	var clients sync.WaitGroup
	for i := range pins {
		clients.Go(func() {
			pin, user := pinsvc.Pin{CID: pinsvctest.RawCID(i)}, pinsvc.User(fmt.Sprint("user ", i))
			id := pin.CID.String()
			// reads until the state has it that the pin has this name, or is none.
			reads := func(what, name string) {
				for {
					done := committedName(t, p, pin) == name
					st, err := s.Get(t.Context(), user, id)
					switch {
					case name == "" && pinsvc.KindOf(err) == pinsvc.KindNotFound:
					case name == "" || err != nil || st.Pin.Name != name:
						t.Errorf("pin %d, a GET after the %s: %q, %v", i, what, st.Pin.Name, err)
						return
					}
					if done {
						return
					}
					select {
					case <-time.After(10 * time.Millisecond):
					case <-t.Context().Done():
						return
					}
				}
			}
			for round := range 2 {
				pin.Name = fmt.Sprint("added ", round)
				if _, err := s.Add(t.Context(), user, pin); err != nil {
					t.Error(err)
				}
				reads("POST", pin.Name)
				pin.Name = fmt.Sprint("renamed ", round)
				if _, err := s.Replace(t.Context(), user, id, pin); err != nil {
					t.Error(err)
				}
				reads("rename", pin.Name)
				if err := s.Delete(t.Context(), user, id); err != nil {
					t.Error(err)
				}
				reads("DELETE", "")
			}
		})
	}
	clients.Wait()
}

// committedName is the name of a pin in the state itself, "" when there is none.
func committedName(t *testing.T, p *clustertest.Peer, pin pinsvc.Pin) string {
	st, err := p.State.State(t.Context())
	if err != nil {
		t.Error(err)
		return ""
	}
	rec, err := st.Get(t.Context(), api.NewCid(pin.CID))
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		t.Error(err)
	}
	return rec.Name
}

// A pin that has failed is removed and requested anew within one batch: it is tried anew. Until the
// batch is committed the tracker reports the failure of the pin before, mostly of the same second.
func TestEmbedded_AFailedPinIsMadeAnewInTheBatchOfItsRemoval(t *testing.T) {
	t.Parallel()
	const batchAge = 300 * time.Millisecond
	p := clustertest.Start(t, 1, clustertest.Options{BatchAge: batchAge})[0]
	p.Node.HoldPins(true)
	s := service{newBackend(t, p, clusterrpc.Options{BatchAge: batchAge}), t, p}
	pin := pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "first"}
	id := pin.CID.String()
	for range 5 {
		p.Node.Fail(pin.CID, errors.New("merkledag: malformed"))
		s.add(pin)
		shows(t, s.Backend, id, pinsvc.StatusFailed)
		await.Success(t, "it is committed", func() error {
			if got := committedName(t, p, pin); got != pin.Name {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
		p.Node.Undecided(pin.CID)
		if err := s.Delete(t.Context(), "", id); err != nil {
			t.Fatal(err)
		}
		pin.Name = "again"
		s.add(pin)
		shows(t, s.Backend, id, pinsvc.StatusPinning)
		if err := s.Delete(t.Context(), "", id); err != nil {
			t.Fatal(err)
		}
		await.Success(t, "it is gone", func() error {
			if got := committedName(t, p, pin); got != "" {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
		pin.Name = "first"
	}
}
