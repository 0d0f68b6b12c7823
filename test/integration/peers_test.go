package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

func TestThreePeersWithCRDT(t *testing.T) {
	t.Parallel()
	testThreePeers(t, "crdt")
}

func TestThreePeersWithRaft(t *testing.T) {
	t.Parallel()
	testThreePeers(t, "raft")
}

// What is asked of one peer is seen at all, and a peer that has stopped does
// not make failures of pins that the others hold.
func testThreePeers(t *testing.T, consensus string) {
	h := harness.New(t)
	peers := h.Cluster(3, consensus)
	client := h.Kubo()
	client.Start()
	client.AddService("svc", peers[0].Endpoint(), peers[0].Token())

	first := client.Add("seen by all")
	client.Ipfs("pin", "remote", "add", "--service=svc", "--name=first", first.String())
	id := peers[0].Add(first, "first").RequestID
	var created string
	for _, peer := range peers {
		peer.WaitPinned(id)
		pin, err := peer.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if pin.Pin.Name != "first" {
			t.Errorf("%s: the pin's name is %q", peer.Name, pin.Pin.Name)
		}
		if got := pin.Created.Format("15:04:05.000"); created == "" {
			created = got
		} else if got != created {
			t.Errorf("%s: created is %s, elsewhere %s", peer.Name, got, created)
		}
		harness.Eventually(t, harness.Timeout, peer.Name+" holds the content", func() error {
			return peer.HoldsOffline(first.String())
		})
	}

	gone := peers[2]
	gone.Stop()
	second := client.Add("made while a peer is away")
	client.Ipfs("pin", "remote", "add", "--service=svc", "--name=second", second.String())
	harness.Always(t, 3*harness.Settle, "a stopped peer makes no pin fail", func() error {
		for _, peer := range peers[:2] {
			page, err := peer.List("status=queued,pinning,pinned,failed")
			if err != nil {
				return fmt.Errorf("%s: %w", peer.Name, err)
			}
			for _, pin := range page.Results {
				if pin.Status == "failed" || (peer == peers[0] && pin.Status != "pinned") {
					return fmt.Errorf("%s says %s of %s", peer.Name, pin.Status, pin.Pin.Name)
				}
			}
		}
		return nil
	})

	gone.Start()
	harness.Eventually(t, harness.Timeout, "the peer that was away sees what it missed", func() error {
		pin, err := gone.Get(second.String())
		if err == nil && pin.Pin.Name != "second" {
			err = fmt.Errorf("the name is %q", pin.Pin.Name)
		}
		return err
	})
	client.Ipfs("pin", "remote", "rm", "--service=svc", "--force", harness.AllStatuses)
	for _, peer := range peers {
		harness.Eventually(t, harness.Timeout, peer.Name+" sees that all are removed", func() error {
			page, err := peer.List("status=queued,pinning,pinned,failed")
			if err == nil && page.Count != 0 {
				err = fmt.Errorf("it lists %d", page.Count)
			}
			return err
		})
	}
}

// A frozen peer answers nothing, and keeps its connections. Requests at the others end in time and take
// effect; when it thaws, all that is shown is true within 30 seconds, at both.
func TestFrozenPeerMakesNoPinFail(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, "crdt")
	client := h.Kubo()
	client.Start()
	client.AddService("svc", peers[0].Endpoint(), peers[0].Token())
	c := client.Add("frozen")
	client.Ipfs("pin", "remote", "add", "--service=svc", "--name=frozen", c.String())

	removed, added := inline(t, "removed meanwhile").String(), inline(t, "added meanwhile").String()
	want(t, request(t, peers[0], http.MethodPost, "/pins", map[string]string{"cid": removed}), http.StatusAccepted, "")
	peers[1].WaitPinned(c.String())
	peers[1].WaitPinned(removed)

	thaw := sync.OnceFunc(func() { peers[1].Process().Signal(syscall.SIGCONT) })
	t.Cleanup(thaw)
	peers[1].Process().Signal(syscall.SIGSTOP)
	for _, change := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/pins", map[string]string{"cid": added, "name": "added"}},
		{http.MethodPost, "/pins/" + c.String(), map[string]string{"cid": c.String(), "name": "renamed"}},
		{http.MethodDelete, "/pins/" + removed, nil},
	} {
		r, took := timed(t, peers[0], change.method, change.path, change.body)
		if r.Status != http.StatusAccepted || took > requestTime {
			t.Errorf("%s %s: %d %s after %s", change.method, change.path, r.Status, r.Body, took)
		}
	}
	now := map[string]string{c.String(): "renamed pinned", added: "added pinned"}
	harness.Eventually(t, trueWithin, "the other peer shows what was changed", func() error { return lists(peers[0], now) })
	harness.Always(t, harness.Settle, "it goes on showing that", func() error {
		began := time.Now()
		pin, err := peers[0].Get(c.String())
		if err == nil && pin.Status != "pinned" {
			err = fmt.Errorf("it is %s", pin.Status)
		}
		if took := time.Since(began); took > requestTime {
			err = fmt.Errorf("a GET took %s", took)
		}
		return errors.Join(err, lists(peers[0], now))
	})
	thaw()
	trueAgain(t, time.Now(), now, peers...)
}

// Without a quorum a Raft peer cannot start to serve: it says so, stays and
// goes on when there is one.
func TestRaftPeerWithoutAQuorumWaits(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, "raft")
	pin := peers[0].Add(unknown(t, ""), "kept")
	for _, peer := range peers {
		harness.Eventually(t, harness.Timeout, peer.Name+" sees the pin", func() error {
			_, err := peer.Get(pin.RequestID)
			return err
		})
	}
	peers[0].Stop()
	peers[1].Stop()

	peers[0].StartOnly()
	peers[0].WaitNotReady("consensus")
	harness.Always(t, harness.Settle, "the daemon stays and is not ready", func() error {
		if !peers[0].Process().Running() {
			return errors.New("the daemon has ended")
		}
		if peers[0].Ready() == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	peers[1].StartOnly()
	for _, peer := range peers {
		peer.WaitReady()
		if _, err := peer.Get(pin.RequestID); err != nil {
			t.Errorf("%s: %v", peer.Name, err)
		}
	}
}

// A Raft peer whose others freeze says that there is no leader, refuses changes
// soon and goes on to answer; when they thaw it takes changes again.
func TestRaftPeerThatLosesItsQuorumSaysSo(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(3, "raft")
	kept := peers[0].Add(inline(t, "before"), "kept")
	peers[0].WaitPinned(kept.RequestID)
	all := func(signal syscall.Signal) {
		for _, peer := range peers[1:] {
			peer.Process().Signal(signal)
		}
	}
	t.Cleanup(func() { all(syscall.SIGCONT) })
	all(syscall.SIGSTOP)

	peers[0].WaitNotReady("no Raft leader")
	body := map[string]string{"cid": inline(t, "without a quorum").String()}
	for range 2 {
		began := time.Now()
		r := request(t, peers[0], http.MethodPost, "/pins", body)
		want(t, r, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
		if took := time.Since(began); took > 5*time.Second || !strings.Contains(string(r.Body), "no Raft leader") {
			t.Errorf("after %s: %s", took, r.Body)
		}
	}
	if pin, err := peers[0].Get(kept.RequestID); err != nil || pin.Status != "pinned" {
		t.Errorf("the pin of before: %v, %v", pin, err)
	}
	peers[0].Process().WaitOutput(harness.Timeout, "not ready: no Raft leader")

	all(syscall.SIGCONT)
	ended := time.Now()
	harness.Eventually(t, trueWithin, "it is ready, and changes are made again", func() error {
		if err := peers[0].Ready(); err != nil {
			return err
		}
		r, err := peers[0].Ask(http.MethodPost, "/pins", body)
		if err == nil && r.Status != http.StatusAccepted {
			err = fmt.Errorf("%d %s", r.Status, r.Body)
		}
		return err
	})
	trueAgain(t, ended, map[string]string{kept.RequestID: "kept pinned", body["cid"]: " pinned"}, peers...)
}
