package clusterrpc

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// fakeParts are what a test says.
type fakeParts struct {
	mu              sync.Mutex
	consensus, ipfs error
}

func (p *fakeParts) Consensus() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.consensus
}

func (p *fakeParts) IPFS() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ipfs
}

func (p *fakeParts) set(consensus, ipfs error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.consensus, p.ipfs = consensus, ipfs
}

var errNoLeader = pinsvc.Wrap(pinsvc.KindUnavailable, errors.New("away: QmOther"), "no Raft leader: 1 of 3 peers")

// writes are all ways to change something.
func writes(t testing.TB, b *Backend, held api.Pin) map[string]func() error {
	return map[string]func() error{
		"Add": func() error {
			_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(7)})
			return err
		},
		"Add again": func() error {
			_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: held.Cid.Cid, Name: "new"})
			return err
		},
		"Replace": func() error {
			_, err := b.Replace(t.Context(), "", requestID(held), pinsvc.Pin{CID: pinsvctest.RawCID(7)})
			return err
		},
		"Delete": func() error { return b.Delete(t.Context(), "", requestID(held)) },
	}
}

// wantReason wants a failure that tells the reason of errNoLeader.
func wantReason(t testing.TB, what string, err error) {
	t.Helper()
	wantKind(t, what, err, pinsvc.KindUnavailable)
	if got := pinsvc.FailureOf(err).Details; got != errNoLeader.Details {
		t.Errorf("%s failed with %q", what, got)
	}
}

func TestWritesFailAtOnceWithoutConsensusAndReadsGoOn(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	parts := &fakeParts{}
	b := s.backend(t, Options{Parts: parts})
	parts.set(errNoLeader, nil)
	if err := b.Health(); pinsvc.FailureOf(err).Details != errNoLeader.Details {
		t.Errorf("Health: %v", err)
	}
	until(t, "refused", func() bool { return b.writable() != nil })
	// A cluster that is asked would not answer.
	for _, method := range []string{"Cluster.Pin", "Cluster.Unpin", "Cluster.BlockAllocate"} {
		t.Cleanup(s.hang(method))
	}
	for what, write := range writes(t, b, rec) {
		began := time.Now()
		wantReason(t, what, write())
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", what, took)
		}
	}
	for _, method := range []string{"Cluster.Pin", "Cluster.Unpin"} {
		if n := s.called(method); n > 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
	if st, err := b.Get(t.Context(), "", requestID(rec)); err != nil || st.Status != pinned {
		t.Errorf("Get: %s, %v", st.Status, err)
	}
	if page, err := b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses}); err != nil || page.Count != 1 {
		t.Errorf("List: %d, %v", page.Count, err)
	}
	wantKind(t, "Delete of nothing", b.Delete(t.Context(), "", pinsvctest.RawCID(9).String()), pinsvc.KindNotFound)
}

func TestAWriteUnderWayIsGivenUpWhenConsensusIsLost(t *testing.T) {
	for _, what := range []string{"Add", "Add again", "Replace", "Delete"} {
		t.Run(what, func(t *testing.T) {
			s := newServices()
			rec := s.held(1)
			parts := &fakeParts{}
			b := s.backend(t, Options{Parts: parts})
			t.Cleanup(s.hang("Cluster.Pin"))
			t.Cleanup(s.hang("Cluster.Unpin"))
			ended := make(chan error, 1)
			go func() { ended <- writes(t, b, rec)[what]() }()
			until(t, "asked", func() bool { return s.called("Cluster.Pin")+s.called("Cluster.Unpin") > 0 })
			parts.set(errNoLeader, nil)
			select {
			case err := <-ended:
				wantReason(t, what, err)
			case <-time.After(15 * time.Second):
				t.Fatal("it waits on")
			}
		})
	}
}

func TestAFailureWithoutConsensusIsItsFault(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	parts := &fakeParts{}
	b := s.backend(t, Options{Parts: parts, Now: new(fakeClock).now}) // No time passes: nothing is given up.
	parts.set(errNoLeader, nil)
	timedOut := errors.New("timed out waiting for leader: context deadline exceeded")
	s.fail("Cluster.Pin", timedOut)
	s.fail("Cluster.Unpin", timedOut)
	for what, write := range writes(t, b, rec) {
		wantReason(t, what, write())
	}
	s.fail("Cluster.Pin", errors.New("not enough peers to allocate CID"))
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(7)})
	if got := pinsvc.FailureOf(err).Details; got == errNoLeader.Details {
		t.Errorf("another failure: %q", got)
	}
}

// Raft is without a leader for a moment whenever it chooses another.
func TestAnElectionIsNoOutage(t *testing.T) {
	var clock fakeClock
	o := newOutage(clock.now)
	ctx, cancel := o.bound(t.Context())
	defer cancel()
	for range 3 {
		for range 3 {
			if err := o.saw(errNoLeader); err != nil {
				t.Fatal(err)
			}
			clock.advance(electionTime / 4)
		}
		if err := o.saw(nil); err != nil {
			t.Fatal(err)
		}
	}
	if ctx.Err() != nil {
		t.Error("a change was given up")
	}
	_ = o.saw(errNoLeader)
	clock.advance(electionTime)
	if err := o.saw(errNoLeader); !errors.Is(err, errNoLeader) {
		t.Errorf("saw %v", err)
	}
	<-ctx.Done()
	late, cancelLate := o.bound(t.Context())
	defer cancelLate()
	if late.Err() == nil {
		t.Error("a change begins without consensus")
	}
	if err := o.saw(nil); err != nil {
		t.Error(err)
	}
	again, cancelAgain := o.bound(t.Context())
	defer cancelAgain()
	if again.Err() != nil {
		t.Error("a change is given up when the leader is back")
	}
}

func TestHealthTellsAtOnceWhatTheProcessKnows(t *testing.T) {
	s := newServices()
	parts := &fakeParts{}
	b := s.backend(t, Options{Parts: parts})
	restarting := pinsvc.Errorf(pinsvc.KindUnavailable, "the IPFS node is restarting")
	for _, test := range []struct {
		consensus, ipfs error
		want            string
	}{
		{nil, nil, ""},
		{nil, restarting, "the IPFS node is restarting"},
		{errNoLeader, restarting, "no Raft leader: 1 of 3 peers; the IPFS node is restarting"},
		{errNoLeader, nil, "no Raft leader: 1 of 3 peers"},
		{nil, errors.New("/home/me: not for clients"), "the IPFS node is away"},
		{errors.New("/home/me: not for clients"), nil, "the consensus of the cluster is away"},
	} {
		parts.set(test.consensus, test.ipfs)
		got := ""
		if err := b.Health(); err != nil {
			got = pinsvc.FailureOf(err).Details
		}
		if got != test.want {
			t.Errorf("%v and %v: told %q, want %q", test.consensus, test.ipfs, got, test.want)
		}
	}
}

// The peer asks its IPFS node before it answers for itself.
func TestAStuckIPFSNodeIsNotTakenForAStuckPeer(t *testing.T) {
	for _, stuck := range []struct{ method, want string }{
		{"", "the IPFS node does not answer"},
		{"PeerMonitor.LatestMetrics", "the cluster peer does not answer"},
		{"Consensus.Peers", "the cluster peer does not answer"},
	} {
		s := newServices()
		b := s.backend(t, Options{StatusTimeout: 20 * time.Millisecond})
		t.Cleanup(s.hang("Cluster.ID"))
		if stuck.method != "" {
			t.Cleanup(s.hang(stuck.method))
		}
		_, err := b.look(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), stuck.want) {
			t.Errorf("%s hangs: %v", stuck.method, err)
		}
	}
}
