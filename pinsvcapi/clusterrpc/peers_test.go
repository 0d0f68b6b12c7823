package clusterrpc_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// patience is what a peer that does not answer may cost, with some room for a
// machine that is busy.
const patience = clusterrpc.DefaultStatusTimeout + 1500*time.Millisecond

// newCluster is three peers of which two have to hold a pin and three may,
// and a backend on the first.
func newCluster(t *testing.T) (service, []*clustertest.Peer) {
	peers := clustertest.Start(t, 3, clustertest.Options{ReplicationMin: 2, ReplicationMax: 3})
	for i, p := range peers {
		p.Node.HoldPins(true)
		p.Node.SetAddresses(fmt.Sprintf("/ip4/1.2.3.%d/tcp/4001", i+1), "/ip4/192.168.0.1/tcp/4001")
	}
	return service{newBackend(t, peers[0], clusterrpc.Options{}), t, peers[0]}, peers
}

// everyoneHas waits until the pin is in the state of all the peers.
func everyoneHas(t *testing.T, peers []*clustertest.Peer, c cid.Cid) {
	t.Helper()
	for _, p := range peers {
		eventually(t, "the pin is everywhere", func() error {
			_, err := p.Cluster.PinGet(t.Context(), api.NewCid(c))
			return err
		})
	}
}

func TestOneStatusFromThreePeers(t *testing.T) {
	s, peers := newCluster(t)
	c := pinsvctest.RawCID(1)
	st := s.add(pinsvc.Pin{CID: c, Name: "three"})
	if len(st.Delegates) != 3 {
		t.Errorf("delegates %q, want the public address of each holder", st.Delegates)
	}
	for _, p := range peers {
		if want := "/p2p/" + p.Node.PeerID().String(); !slices.ContainsFunc(st.Delegates, func(d string) bool {
			return len(d) > len(want) && d[len(d)-len(want):] == want
		}) {
			t.Errorf("no delegate of %s in %q", p.ID(), st.Delegates)
		}
	}
	everyoneHas(t, peers, c)
	for _, p := range peers {
		trackerSays(t, p, c, api.TrackerStatusPinning)
	}

	peers[1].Node.Fail(c, errors.New("merkledag: malformed"))
	trackerSays(t, peers[1], c, api.TrackerStatusPinError)
	s.becomes(st.RequestID, pinsvc.StatusPinning)
	peers[0].Node.Succeed(c)
	s.becomes(st.RequestID, pinsvc.StatusPinning) // One of two.
	peers[2].Node.Succeed(c)
	s.becomes(st.RequestID, pinsvc.StatusPinned) // Enough, and one is in error.
	if got := s.get(st.RequestID); got.Info["replicas"] != "2/3" || got.Pin.Name != "three" {
		t.Errorf("%+v", got)
	}
	for _, status := range []pinsvc.Status{pinsvc.StatusQueued, pinsvc.StatusPinning, pinsvc.StatusPinned, pinsvc.StatusFailed} {
		page := s.list(pinsvc.Query{Statuses: pinsvc.SetOf(status)})
		if want := status == pinsvc.StatusPinned; (page.Count == 1) != want {
			t.Errorf("status=%s counts %d", status, page.Count)
		}
	}

	other := pinsvctest.RawCID(2)
	for _, p := range peers[1:] {
		p.Node.Fail(other, errors.New("merkledag: malformed"))
	}
	failed := s.add(pinsvc.Pin{CID: other})
	s.becomes(failed.RequestID, pinsvc.StatusFailed) // Two of three gave up, so two cannot hold it.
}

func TestAPeerThatDoesNotAnswerNeitherFailsPinsNorCostsMuch(t *testing.T) {
	s, peers := newCluster(t)
	var pinned []string
	for i := range 30 {
		for _, p := range peers {
			p.Node.Succeed(pinsvctest.RawCID(i))
		}
		pinned = append(pinned, s.add(pinsvc.Pin{CID: pinsvctest.RawCID(i)}).RequestID)
	}
	for _, id := range pinned {
		s.becomes(id, pinsvc.StatusPinned)
	}
	check := func(what string) {
		t.Helper()
		start := time.Now()
		if got := s.get(pinned[0]); got.Status != pinsvc.StatusPinned {
			t.Errorf("%s: %s", what, got.Status)
		}
		if took := time.Since(start); took > patience {
			t.Errorf("%s: a GET took %s", what, took)
		}
		start = time.Now()
		page := s.list(pinsvc.Query{Limit: 100, Statuses: pinsvc.SetOf(pinsvc.StatusPinned)})
		if page.Count != len(pinned) {
			t.Errorf("%s: %d of %d are pinned", what, page.Count, len(pinned))
		}
		if took := time.Since(start); took > patience {
			t.Errorf("%s: a list took %s", what, took)
		}
	}
	check("all answer")
	peers[2].Tracker.Freeze()
	check("one is frozen")
	// A pin that is made meanwhile is as far as the others have brought it.
	for _, p := range peers[:2] {
		p.Node.Succeed(pinsvctest.RawCID(50))
	}
	fresh := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(50)})
	s.becomes(fresh.RequestID, pinsvc.StatusPinned)
	if err := s.Delete(t.Context(), "", fresh.RequestID); err != nil {
		t.Fatal(err)
	}
	peers[2].Tracker.Thaw()
	check("it is back")
	peers[1].Close()
	check("another has stopped")
}

func TestWithoutEnoughPeersNothingIsPinned(t *testing.T) {
	s, peers := newCluster(t)
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	peers[1].Close()
	peers[2].Close()
	eventually(t, "the others are missed", func() error {
		var members []peer.ID
		err := s.peer.Client.CallContext(t.Context(), "", "Consensus", "Peers", struct{}{}, &members)
		if err == nil && len(members) > 1 {
			err = fmt.Errorf("%d members", len(members))
		}
		return err
	})
	var told *pinsvc.Error
	tries := 0
	eventually(t, "a new pin is refused", func() error {
		// It is accepted while what the others told of their space holds.
		tries++
		_, err := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(100 + tries)})
		if !errors.As(err, &told) || told.Kind != pinsvc.KindUnavailable {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	// A name can be changed all the same, and the pin keeps its holders.
	if got := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "renamed"}); !got.Created.Equal(old.Created) {
		t.Errorf("%+v", got)
	}
	if rec, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(1))); err != nil || len(rec.Allocations) != 3 {
		t.Errorf("%v %v", rec.Allocations, err)
	}
}

func TestAFollowerServesAndRefusesWrites(t *testing.T) {
	writer := clustertest.Start(t, 1, clustertest.Options{})[0]
	follower, err := clustertest.New(clustertest.Options{Follower: true, Join: []*clustertest.Peer{writer}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.Close)
	if err := errors.Join(follower.Ready(t.Context()), follower.Members(t.Context(), 2)); err != nil {
		t.Fatal(err)
	}
	made := service{newBackend(t, writer, clusterrpc.Options{}), t, writer}.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	everyoneHas(t, []*clustertest.Peer{follower}, pinsvctest.RawCID(1))
	s := service{newBackend(t, follower, clusterrpc.Options{}), t, follower}
	s.becomes(made.RequestID, pinsvc.StatusPinned)
	_, addErr := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	_, againErr := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "x"})
	_, replaceErr := s.Replace(t.Context(), "", made.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	deleteErr := s.Delete(t.Context(), "", made.RequestID)
	for _, err := range []error{addErr, againErr, replaceErr, deleteErr} {
		var told *pinsvc.Error
		if !errors.As(err, &told) || told.Kind != pinsvc.KindForbidden || told.Details == "" {
			t.Errorf("%v, want forbidden and why", err)
		}
	}
	if got := s.get(made.RequestID); got.Pin.Name != "" {
		t.Errorf("%+v", got)
	}
}
