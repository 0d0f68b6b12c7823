package statewrite

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

const commitTime = time.Minute

// rows is the sink of a syncer.
type rows struct {
	mu  sync.Mutex
	all map[cid.Cid]api.Pin
}

func (r *rows) PutRecord(rec api.Pin, _ bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[rec.Cid.Cid] = rec
}

func (r *rows) DeleteRecord(key cid.Cid) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, key)
}

func (r *rows) Keys(func(string)) {}
func (r *rows) Compact()          {}

// name is that of a row; empty when there is none.
func (r *rows) name(n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[pinsvctest.RawCID(n)].Name
}

// fixture is a writer over the services of a peer.
type fixture struct {
	*Writer
	t      testing.TB
	fake   *clusterfake.Services
	clock  *clusterfake.Clock
	health *clusterfake.Health
	syncer *statesync.Syncer
	rows   *rows
}

// newFixture is a writer to a consensus that does not wait for the commit.
func newFixture(t testing.TB) fixture { return newFixtureFor(t, false) }

func newFixtureFor(t testing.TB, waitsForCommit bool) fixture {
	f := fixture{
		t: t, fake: clusterfake.New(), clock: &clusterfake.Clock{}, health: &clusterfake.Health{},
		rows: &rows{all: make(map[cid.Cid]api.Pin)},
	}
	client := clusterapi.New(f.fake.Client(t))
	f.syncer = statesync.New(statesync.Config{
		Reader: client, Sink: f.rows, Now: f.clock.Now, CommitTime: commitTime,
		WaitsForCommit: waitsForCommit, StateTimeout: 10 * time.Second, ResyncInterval: time.Hour,
	})
	f.Writer = New(Config{
		Submitter: client, Syncer: f.syncer, Now: f.clock.Now, Timeout: 30 * time.Second, Consensus: f.health.Consensus,
	})
	return f
}

func rename(n int, name string) statesync.Mutation {
	return func(current statesync.Versioned) statesync.Versioned {
		if !current.Found {
			current.Rec = pinrecord.New(pinsvctest.RawCID(n))
			current.Rec.Allocations = []peer.ID{clusterfake.Self()}
		}
		current.Rec.Name = name
		return statesync.Versioned{Rec: current.Rec, Found: true}
	}
}

// put is what a request does.
func (f fixture) put(ctx context.Context, n int, name string) error {
	c := pinsvctest.RawCID(n)
	unlock, err := f.Lock(ctx, c)
	if err != nil {
		return err
	}
	defer unlock()
	rec, found, err := f.syncer.Get(ctx, api.NewCid(c))
	if err != nil {
		return err
	}
	_, err = f.Put(ctx, statesync.Versioned{Rec: rec, Found: found}, rename(n, name))
	return err
}

func (f fixture) mustPut(n int, name string) {
	f.t.Helper()
	if err := f.put(f.t.Context(), n, name); err != nil {
		f.t.Fatal(err)
	}
}

// delete is what a request does; false: there was no record.
func (f fixture) delete(n int) (bool, error) {
	f.t.Helper()
	c := pinsvctest.RawCID(n)
	unlock, err := f.Lock(f.t.Context(), c)
	if err != nil {
		return false, err
	}
	defer unlock()
	rec, found, err := f.syncer.Get(f.t.Context(), api.NewCid(c))
	if err != nil || !found {
		return false, err
	}
	return true, f.Delete(f.t.Context(), rec)
}

// name is that of a record in the state; empty when there is none.
func (f fixture) name(n int) string {
	rec, _ := f.fake.Record(pinsvctest.RawCID(n))
	return rec.Name
}

// settle lets time pass for a peer that runs.
func (f fixture) settle(d time.Duration) {
	for ; d > 0; d -= time.Second {
		f.clock.Advance(time.Second)
		f.SettleUncommitted(f.t.Context())
	}
}

func (f fixture) pending(n int) bool {
	return f.syncer.Uncommitted().Pending(pinsvctest.RawCID(n))
}

func TestWriter_WritesToOnePinWaitForEachOther(t *testing.T) {
	w := newFixture(t)
	v0, v1 := pinsvctest.V0CID(1), pinsvctest.V1CID(1)
	unlock, err := w.Lock(t.Context(), v0, v1, pinsvctest.RawCID(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := w.Lock(ctx, v1)
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) || pinsvc.KindOf(err) != pinsvc.KindUnavailable {
		t.Errorf("the other form of the CID was not locked: %v", err)
	}
	unlock()
	again, err := w.Lock(t.Context(), v1)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestWriter_Put(t *testing.T) {
	w := newFixture(t)
	w.mustPut(1, "a")
	if w.name(1) != "a" || w.rows.name(1) != "a" || w.pending(1) {
		t.Errorf("the state has %q, the view %q, pending %t", w.name(1), w.rows.name(1), w.pending(1))
	}
	w.fake.Set(func() { w.fake.Batching = true })
	w.mustPut(1, "b")
	if w.name(1) != "a" || w.rows.name(1) != "b" || !w.pending(1) {
		t.Errorf("before the commit the state has %q, the view %q, pending %t", w.name(1), w.rows.name(1), w.pending(1))
	}
}

// A pin that was made by an update would be made by an update again.
func TestWriter_PutMakesNoUpdate(t *testing.T) {
	w := newFixture(t)
	rec := w.fake.Held(pinsvctest.RawCID(1))
	rec.PinUpdate = api.NewCid(pinsvctest.RawCID(9))
	w.fake.Put(rec)
	w.mustPut(1, "b")
	if got, _ := w.fake.Record(rec.Cid.Cid); got.PinUpdate.Defined() || got.Name != "b" {
		t.Errorf("%+v", got)
	}
}

func TestWriter_Delete(t *testing.T) {
	w := newFixture(t)
	w.fake.Held(pinsvctest.RawCID(1))
	if found, err := w.delete(1); !found || err != nil || w.fake.Len() != 0 {
		t.Errorf("%t, %v, %d records", found, err, w.fake.Len())
	}
	// Of what is not there the view is read again.
	w.rows.PutRecord(pinrecord.New(pinsvctest.RawCID(2)), false)
	if found, err := w.delete(2); found || err != nil || len(w.rows.all) != 0 {
		t.Errorf("%t, %v, %d rows", found, err, len(w.rows.all))
	}
}

// The cluster does not find a record that is accepted and not committed.
func TestWriter_DeleteOfAnUncommittedPin(t *testing.T) {
	w := newFixture(t)
	w.fake.Set(func() { w.fake.Batching = true })
	w.mustPut(1, "a")
	if found, err := w.delete(1); !found || err != nil || w.fake.Called("Consensus.LogUnpin") != 1 {
		t.Errorf("%t, %v, LogUnpin called %d times", found, err, w.fake.Called("Consensus.LogUnpin"))
	}
	for range 2 {
		if w.rows.name(1) != "" {
			t.Error("it is seen")
		}
		w.fake.Commit()
		w.settle(commitTime)
	}
	if w.pending(1) || w.fake.Len() != 0 {
		t.Errorf("pending %t, %d records", w.pending(1), w.fake.Len())
	}
}

// Of a sharded root that is renamed and not committed the cluster removes the parts as well.
func TestWriter_DeleteOfAShardedRootThatIsUncommitted(t *testing.T) {
	w := newFixture(t)
	root := w.fake.Held(pinsvctest.RawCID(1))
	root.Type, root.MaxDepth, root.Allocations, root.Reference = api.MetaType, 0, nil, &api.Cid{Cid: pinsvctest.RawCID(2)}
	w.fake.Put(root)
	w.fake.Set(func() { w.fake.Batching = true })
	w.mustPut(1, "renamed")
	if found, err := w.delete(1); !found || err != nil || w.fake.Called("Cluster.Unpin") != 1 {
		t.Errorf("%t, %v, Unpin called %d times", found, err, w.fake.Called("Cluster.Unpin"))
	}
}

// C19: no more is taken than can be kept.
func TestWriter_RefusesWhatUncommittedHasNoRoomFor(t *testing.T) {
	w := newFixture(t)
	w.fake.Held(pinsvctest.RawCID(1))
	w.fake.Set(func() { w.fake.Batching = true })
	var err error
	n := 0
	for ; err == nil && n < 10_000; n++ {
		w.clock.Advance(time.Second) // Timestamps tell the versions apart.
		err = w.put(t.Context(), 1, "again")
	}
	submitted := w.fake.Called("Consensus.LogPin")
	_, deleteErr := w.delete(1)
	for _, err := range []error{err, deleteErr} {
		if pinsvc.KindOf(err) != pinsvc.KindUnavailable || !strings.Contains(pinsvc.FailureOf(err).Details, "consensus.crdt.batching.max_batch_age") {
			t.Errorf("%v", err)
		}
	}
	if w.fake.Called("Consensus.LogPin") != submitted || w.fake.Called("Consensus.LogUnpin") != 0 {
		t.Error("what is refused was submitted")
	}
	w.mustPut(2, "another")
	w.fake.Commit()
	w.settle(time.Minute)
	w.mustPut(1, "room again")
}

// The first write goes through the cluster, which makes the checks of a write and reads the
// record for them. From what it made of it the others are made without another read.
func TestWriter_AWriteReadsItsRecordOnce(t *testing.T) {
	w := newFixtureFor(t, true)
	w.mustPut(1, "first")
	w.fake.ResetCalls()
	w.mustPut(2, "new")
	w.mustPut(2, "renamed")
	if found, err := w.delete(2); !found || err != nil {
		t.Fatal(found, err)
	}
	for method, want := range map[string]int{
		"Cluster.PinGet": 3, "Cluster.Pin": 0, "Cluster.Unpin": 0, "Consensus.LogPin": 2, "Consensus.LogUnpin": 1,
	} {
		if got := w.fake.Called(method); got != want {
			t.Errorf("%s was called %d times, want %d", method, got, want)
		}
	}
}

// A process that was frozen submits nothing again, for another peer may have deleted the
// pin since: batching of two peers, whose commits come in this order.
func TestWriter_NothingIsSubmittedAgain(t *testing.T) {
	w := newFixture(t)
	w.mustPut(0, "first")
	w.fake.Set(func() { w.fake.Batching = true })
	w.mustPut(1, "ours")
	w.clock.Advance(time.Hour) // It was frozen.
	w.SettleUncommitted(t.Context())
	w.fake.Commit()
	rec, _ := w.fake.Record(pinsvctest.RawCID(1))
	w.fake.Remove(rec) // By another peer.
	w.settle(2 * commitTime << 6)
	w.fake.Commit()
	if w.name(1) != "" || w.rows.name(1) != "" || w.pending(1) {
		t.Errorf("the deleted pin is back: the state has %q, the view %q, pending %t", w.name(1), w.rows.name(1), w.pending(1))
	}
}
