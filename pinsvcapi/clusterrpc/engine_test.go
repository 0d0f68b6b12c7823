package clusterrpc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// impatient does at once what production leaves some time.
func impatient(opts clusterrpc.Options) clusterrpc.Options {
	opts.RetryDelay = 20 * time.Millisecond
	return opts
}

func TestTheViewsOfAllPeersFollowEachOther(t *testing.T) {
	peers := clustertest.Start(t, 3, clustertest.Options{})
	var services []service
	for _, p := range peers {
		services = append(services, service{newBackend(t, p, clusterrpc.Options{}), t, p})
	}
	var ids []string
	for i, s := range services {
		ids = append(ids, s.add(pinsvc.Pin{CID: pinsvctest.RawCID(i), Name: fmt.Sprint("made at ", i)}).RequestID)
		for _, other := range services {
			other.counts(pinsvc.Query{}, i+1)
		}
	}
	for i, s := range services {
		s.add(pinsvc.Pin{CID: pinsvctest.RawCID((i + 1) % 3), Name: "renamed"})
	}
	for _, s := range services {
		s.counts(pinsvc.Query{Name: "renamed"}, 3)
		s.counts(pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}, 3)
	}
	for i, s := range services {
		if err := s.Delete(t.Context(), "", ids[(i+2)%3]); err != nil {
			t.Error(err)
		}
		for _, other := range services {
			other.counts(pinsvc.Query{}, 2-i)
		}
	}
}

func TestAPeerTriesAsOftenAsItMay(t *testing.T) {
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	s := service{newBackend(t, p, impatient(clusterrpc.Options{MaxPinAttempts: 3})), t, p}
	c := pinsvctest.RawCID(1)
	p.Node.Fail(c, errors.New("merkledag: malformed"))
	st := s.add(pinsvc.Pin{CID: c})
	s.becomes(st.RequestID, pinsvc.StatusFailed)
	got := s.get(st.RequestID)
	if n := p.Node.PinCalls(); n != 3 || got.Info["attempts"] != "3" || got.Info["status_details"] != "merkledag: malformed, attempt 3 of 3" {
		t.Errorf("after %d tries: %v", n, got.Info)
	}
	// What the cluster does by itself does not make it begin again.
	if _, err := p.Cluster.RecoverLocal(t.Context(), api.NewCid(c)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it was tried once more", func() error {
		if n := p.Node.PinCalls(); n != 4 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	s.becomes(st.RequestID, pinsvc.StatusFailed)
	p.Node.Succeed(c)
	if got := s.add(pinsvc.Pin{CID: c}); got.Status == pinsvc.StatusFailed {
		t.Error("a re-add does not begin anew")
	}
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	if got := s.get(st.RequestID); got.Info["attempts"] != "" || got.Info["status_details"] != "" {
		t.Errorf("info %v", got.Info)
	}
}

func TestContentThatIPFSLostIsFoundMissingAndFetchedAgain(t *testing.T) {
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	// Records are not judged while they are new; by this clock none is.
	ahead := func() time.Time { return time.Now().Add(time.Minute) }
	s := service{newBackend(t, p, impatient(clusterrpc.Options{ScanInterval: 50 * time.Millisecond, Now: ahead})), t, p}
	c := pinsvctest.RawCID(1)
	st := s.add(pinsvc.Pin{CID: c})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	p.Node.Hold(c)
	p.Node.Lose(c)
	eventually(t, "a list says so", func() error {
		page := s.list(pinsvc.Query{})
		if got := page.Results[0]; got.Status != pinsvc.StatusPinning || !strings.Contains(got.Info["status_details"], "lost") {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	trackerSays(t, p, c, api.TrackerStatusPinning)
	p.Node.Succeed(c)
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	if !p.Node.Has(c) {
		t.Error("pinned, but the node does not have it")
	}
}

func TestAPeerWhoseIPFSIsAwayKeepsWhatItHoldsAndGoesOnLater(t *testing.T) {
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	s := service{newBackend(t, p, impatient(clusterrpc.Options{})), t, p}
	held := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(held.RequestID, pinsvc.StatusPinned)
	p.Node.SetAway(true)
	fresh := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	renamed := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "renamed"})
	if renamed.Status != pinsvc.StatusPinned {
		t.Errorf("renamed it is %s", renamed.Status)
	}
	eventually(t, "the new one waits and says why", func() error {
		got := s.get(fresh.RequestID)
		if got.Status != pinsvc.StatusQueued || !strings.Contains(got.Info["status_details"], "waiting for the IPFS node") {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	if got := s.get(held.RequestID); got.Status != pinsvc.StatusPinned {
		t.Errorf("what it holds is %s", got.Status)
	}
	p.Node.SetAway(false)
	s.becomes(fresh.RequestID, pinsvc.StatusPinned)
	s.becomes(held.RequestID, pinsvc.StatusPinned)
}

// A peer that is frozen says nothing of the pins that it is at work on; what
// it had confirmed stays, and it counts again when it is back.
func TestPinsInFlightOnAFrozenPeerStayTruthful(t *testing.T) {
	peers := clustertest.Start(t, 3, clustertest.Options{ReplicationMin: 3, ReplicationMax: 3})
	s := service{newBackend(t, peers[0], clusterrpc.Options{}), t, peers[0]}
	for _, p := range peers {
		p.Node.HoldPins(true)
	}
	done, flying := pinsvctest.RawCID(1), pinsvctest.RawCID(2)
	for _, p := range peers {
		p.Node.Succeed(done)
	}
	pinned := s.add(pinsvc.Pin{CID: done})
	s.becomes(pinned.RequestID, pinsvc.StatusPinned)
	flight := s.add(pinsvc.Pin{CID: flying})
	everyoneHas(t, peers, flying)
	peers[2].Tracker.Freeze()
	for _, p := range peers[:2] {
		p.Node.Succeed(flying)
	}
	eventually(t, "two of three hold it", func() error {
		if got := s.get(flight.RequestID); got.Status != pinsvc.StatusPinning || got.Info["replicas"] != "2/3" {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	peers[2].Node.Succeed(flying)
	if got := s.get(pinned.RequestID); got.Status != pinsvc.StatusPinned || got.Info["replicas"] != "3/3" {
		t.Errorf("%s %v", got.Status, got.Info)
	}
	if got := s.get(flight.RequestID); got.Status == pinsvc.StatusPinned {
		t.Error("pinned by a peer that said nothing")
	}
	peers[2].Tracker.Thaw()
	s.becomes(flight.RequestID, pinsvc.StatusPinned)
}
