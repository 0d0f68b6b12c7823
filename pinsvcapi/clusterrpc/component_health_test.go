package clusterrpc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

var errNoLeader = pinsvc.Wrap(pinsvc.KindUnavailable, errors.New("unreachable: QmOther"), "no Raft leader: 1 of 3 peers")

// writes are all ways to change something.
func (f fakeBackend) writes(held api.Pin) map[string]func() error {
	ctx, id := f.t.Context(), held.Cid.String()
	return map[string]func() error{
		"Add": func() error {
			_, err := f.Add(ctx, "", pinsvc.Pin{CID: pinsvctest.RawCID(7)})
			return err
		},
		"Add again": func() error {
			_, err := f.Add(ctx, "", pinsvc.Pin{CID: held.Cid.Cid, Name: "new"})
			return err
		},
		"Replace": func() error {
			_, err := f.Replace(ctx, "", id, pinsvc.Pin{CID: pinsvctest.RawCID(7)})
			return err
		},
		"Delete": func() error { return f.Delete(ctx, "", id) },
	}
}

// wantNoLeader wants a failure with the details of errNoLeader.
func wantNoLeader(t testing.TB, what string, err error) {
	t.Helper()
	wantKind(t, what, err, pinsvc.KindUnavailable)
	if got := pinsvc.FailureOf(err).Details; got != errNoLeader.Details {
		t.Errorf("%s failed with %q", what, got)
	}
}

func TestComponentHealth_WritesFailAtOnceWithoutConsensusAndReadsGoOn(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{})
	b.health.Set(errNoLeader, nil)
	wantNoLeader(t, "Health", b.Health())
	await.True(t, "refused", func() bool { return b.Writer().Available() != nil })
	// A cluster without consensus would not respond.
	for _, method := range []string{"Consensus.LogPin", "Consensus.LogUnpin", "Cluster.BlockAllocate"} {
		t.Cleanup(fake.Hang(method))
	}
	for what, write := range b.writes(rec) {
		began := time.Now()
		wantNoLeader(t, what, write())
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", what, took)
		}
	}
	for _, method := range []string{"Consensus.LogPin", "Consensus.LogUnpin"} {
		if n := fake.Called(method); n > 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
	if st := b.get(rec.Cid.Cid); st.Status != pinned || b.count() != 1 {
		t.Errorf("%s, %d pins", st.Status, b.count())
	}
	wantKind(t, "Delete of nothing", b.Delete(t.Context(), "", pinsvctest.RawCID(9).String()), pinsvc.KindNotFound)
}

func TestComponentHealth_AWriteInProgressEndsWhenConsensusIsLost(t *testing.T) {
	for _, what := range []string{"Add", "Add again", "Replace", "Delete"} {
		t.Run(what, func(t *testing.T) {
			fake := clusterfake.New()
			rec := fake.Held(pinsvctest.RawCID(1))
			b := ready(t, fake, clusterrpc.Options{})
			t.Cleanup(fake.Hang("Consensus.LogPin"))
			t.Cleanup(fake.Hang("Consensus.LogUnpin"))
			ended := make(chan error, 1)
			go func() { ended <- b.writes(rec)[what]() }()
			await.True(t, "submitted", func() bool { return fake.Called("Consensus.LogPin")+fake.Called("Consensus.LogUnpin") > 0 })
			b.health.Set(errNoLeader, nil)
			select {
			case err := <-ended:
				wantNoLeader(t, what, err)
			case <-time.After(15 * time.Second):
				t.Fatal("it waits on")
			}
		})
	}
}

func TestComponentHealth_AFailureWithoutConsensusIsItsFault(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{Now: new(clusterfake.Clock).Now}) // No time passes: nothing is ended.
	b.health.Set(errNoLeader, nil)
	timedOut := errors.New("timed out waiting for leader: context deadline exceeded")
	fake.Fail("Consensus.LogPin", timedOut)
	fake.Fail("Consensus.LogUnpin", timedOut)
	for what, write := range b.writes(rec) {
		wantNoLeader(t, what, write())
	}
	fake.Fail("Consensus.LogPin", errors.New("not enough peers to allocate CID"))
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(7)})
	if got := pinsvc.FailureOf(err).Details; got == errNoLeader.Details {
		t.Errorf("another failure: %q", got)
	}
}

func TestHealthDetails_AreThoseOfTheOptions(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{HealthDetails: func() []string { return []string{"storage full"} }})
	if got := b.HealthDetails(); len(got) != 1 || got[0] != "storage full" {
		t.Errorf("reported %q", got)
	}
	if err := b.Health(); err != nil {
		t.Errorf("details make it unavailable: %v", err)
	}
}

func TestComponentHealth_HealthReportsAtOnceWhatTheProcessKnows(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	restarting := pinsvc.Errorf(pinsvc.KindUnavailable, "the IPFS node is restarting")
	for _, test := range []struct {
		consensus, ipfs error
		want            string
	}{
		{nil, nil, ""},
		{nil, restarting, "the IPFS node is restarting"},
		{errNoLeader, restarting, "no Raft leader: 1 of 3 peers; the IPFS node is restarting"},
		{errNoLeader, nil, "no Raft leader: 1 of 3 peers"},
		{nil, errors.New("/home/me: not for clients"), "the IPFS node is unavailable"},
		{errors.New("/home/me: not for clients"), nil, "the consensus of the cluster is unavailable"},
	} {
		b.health.Set(test.consensus, test.ipfs)
		got := ""
		if err := b.Health(); err != nil {
			got = pinsvc.FailureOf(err).Details
		}
		if got != test.want {
			t.Errorf("%v and %v: reported %q, want %q", test.consensus, test.ipfs, got, test.want)
		}
	}
}
