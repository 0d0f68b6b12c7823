package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// unpinTime is how long a service may take to unpin what was replaced, from when the new pin is
// pinned.
const unpinTime = time.Minute

// replaceService is a service with a client that has content for it.
type replaceService struct {
	t      *testing.T
	peer   *harness.Peer
	client *harness.Kubo
}

// add adds content of many blocks to the client.
func (s *replaceService) add(n int) string {
	s.t.Helper()
	out := s.client.IpfsStdin(strings.Repeat(fmt.Sprintf("content %d, ", n), 2500),
		"add", "--quieter", "--cid-version=1", "--chunker=size-1024")
	return strings.TrimSpace(out)
}

// origin is an address of the client.
func (s *replaceService) origin() string {
	s.t.Helper()
	var id struct{ Addresses []string }
	if err := json.Unmarshal([]byte(s.client.Ipfs("id")), &id); err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(id.Addresses, func(a string) bool { return strings.HasPrefix(a, "/ip4/127.0.0.1/tcp/") })
	if i < 0 {
		s.t.Fatalf("the client has the addresses %v", id.Addresses)
	}
	return id.Addresses[i]
}

// replace puts a CID in the place of a pin.
func (s *replaceService) replace(id, cid string, origins ...string) (status int, err error) {
	r, err := s.peer.Ask(http.MethodPost, "/pins/"+id, map[string]any{"cid": cid, "name": "files", "origins": origins})
	return r.Status, err
}

// pinned reports whether the IPFS node of a peer has a CID pinned, by its own account.
func pinned(peer *harness.Peer, cid string) (bool, error) {
	r := peer.Try("ipfs", "pin", "ls", "--type=recursive", cid)
	if r.Err != nil && strings.Contains(r.Stderr, "is not pinned") {
		return false, nil
	}
	return r.Err == nil, r.Err
}

// unpinned waits until the IPFS node of a peer does not have a CID pinned any more.
func unpinned(t *testing.T, peer *harness.Peer, cid string) {
	t.Helper()
	harness.Eventually(t, unpinTime, cid+" is unpinned", func() error {
		held, err := pinned(peer, cid)
		if err == nil && held {
			err = harness.ErrNotYet
		}
		return err
	})
}

// The daemon is killed at every step of a replace, again and again. At no moment is neither
// the old nor the new content pinned, and each replace ends as it was answered.
func TestReplaceLosesNothingWhenTheDaemonIsKilled(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		consensus string
		batching  map[string]any
	}{
		"crdt":               {"crdt", nil},
		"crdt with batching": {"crdt", map[string]any{"max_batch_size": 50, "max_batch_age": "200ms"}},
		"raft":               {"raft", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := harness.New(t)
			peer := h.Peer(harness.InitOptions{Args: []string{"--consensus", tt.consensus}})
			if tt.batching != nil {
				peer.Edit(func(c harness.Section) { c.Section("consensus", "crdt").Set("batching", tt.batching) })
			}
			testReplaceLosesNothing(t, h, peer)
		})
	}
}

func testReplaceLosesNothing(t *testing.T, h *harness.Harness, peer *harness.Peer) {
	s := &replaceService{t, peer, h.Kubo()}
	s.peer.Start()
	s.client.Start()
	origin := s.origin()
	cids := []string{s.add(0)}
	r, err := s.peer.Ask(http.MethodPost, "/pins", map[string]any{"cid": cids[0], "name": "files", "origins": []string{origin}})
	if err != nil || r.Status != http.StatusAccepted {
		t.Fatalf("%d %s, %v", r.Status, r.Body, err)
	}
	s.peer.WaitPinned(cids[0])
	watch := watchPinned(s.peer, cids[0])
	defer watch.stop(t)

	for step, moment := range []struct {
		name string
		// kill waits for the moment at which the daemon is killed.
		kill func(old, fresh string)
	}{
		{"at once", func(string, string) {}},
		{"while the new content is fetched", func(_, fresh string) { s.waitStatus(fresh, "queued", "pinning", "pinned") }},
		{"when the new content is pinned", func(_, fresh string) { s.waitStatus(fresh, "pinned") }},
		{"half a second later", func(_, fresh string) { // A moment of the fault, which nothing announces.
			s.waitStatus(fresh, "pinned")
			time.Sleep(500 * time.Millisecond)
		}},
		{"while the old content is unpinned", func(old, _ string) {
			s.peer.Process().WaitOutput(unpinTime, "pin "+old+" is unpinned: it was replaced")
		}},
		{"when the old content is unpinned", func(old, _ string) { unpinned(t, s.peer, old) }},
	} {
		old, fresh := cids[step], s.add(step+1)
		cids = append(cids, fresh)
		watch.expect(old, fresh)
		status, err := s.replace(old, fresh, origin)
		if err != nil || status != http.StatusAccepted {
			t.Fatalf("%s: %d, %v", moment.name, status, err)
		}
		moment.kill(old, fresh)
		s.peer.Kill()
		s.peer.Start()
		page, err := s.peer.List("status=queued,pinning,pinned,failed&name=files")
		if err != nil || page.Count != 1 || page.Results[0].Pin.CID != fresh {
			t.Fatalf("%s: after the restart there is %+v, %v", moment.name, page, err)
		}
		s.peer.WaitPinned(fresh)
		unpinned(t, s.peer, old)
		watch.expect(fresh)
		s.peer.Ipfs("repo", "gc", "--quiet")
		if err := s.peer.HoldsOffline(fresh); err != nil {
			t.Fatalf("%s: %v", moment.name, err)
		}
		if pin, err := s.peer.Get(fresh); err != nil || pin.Info["kept"] != "" {
			t.Errorf("%s: %+v, %v", moment.name, pin, err)
		}
	}

	// The kill comes before the answer: either the old pin is there, or the new one.
	for i := range 4 {
		old, fresh := cids[len(cids)-1], s.add(100+i)
		watch.expect(old, fresh)
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = s.replace(old, fresh, origin) // It may be cut off.
		}()
		time.Sleep(time.Duration(i*3) * time.Millisecond) // The moments of the fault.
		s.peer.Kill()
		<-answered
		s.peer.Start()
		page, err := s.peer.List("status=queued,pinning,pinned,failed&name=files")
		if err != nil || page.Count != 1 {
			t.Fatalf("killed in a replace: there is %+v, %v", page, err)
		}
		left := page.Results[0].Pin.CID
		if left != old && left != fresh {
			t.Fatalf("killed in a replace: there is %+v", page)
		}
		cids = append(cids, left)
		s.peer.WaitPinned(left)
		watch.expect(left)
	}
	if n := watch.samples(); n < 20 {
		t.Errorf("the node was looked at %d times only", n)
	}
}

// waitStatus waits until a pin has one of the statuses.
func (s *replaceService) waitStatus(id string, statuses ...string) {
	s.t.Helper()
	harness.Eventually(s.t, harness.Timeout, id+" is "+strings.Join(statuses, " or "), func() error {
		pin, err := s.peer.Get(id)
		if err == nil && !slices.Contains(statuses, pin.Status) {
			err = fmt.Errorf("it is %s", pin.Status)
		}
		return err
	})
}

func TestReplaceIsFinishedByAnotherPeerWithCRDT(t *testing.T) {
	t.Parallel()
	testReplaceIsFinishedByAnotherPeer(t, 2, "crdt")
}

func TestReplaceIsFinishedByAnotherPeerWithRaft(t *testing.T) {
	t.Parallel()
	testReplaceIsFinishedByAnotherPeer(t, 3, "raft")
}

// The peer that accepted the replace is gone for good before the new content is there: another
// one does the rest.
func testReplaceIsFinishedByAnotherPeer(t *testing.T, n int, consensus string) {
	h := harness.New(t)
	peers := h.Cluster(n, consensus)
	s := &replaceService{t, peers[0], h.Kubo()}
	s.client.Start()
	old, fresh, origin := s.add(1), s.add(2), s.origin()
	if r, err := s.peer.Ask(http.MethodPost, "/pins", map[string]any{"cid": old, "origins": []string{origin}}); err != nil || r.Status != http.StatusAccepted {
		t.Fatalf("%d %s, %v", r.Status, r.Body, err)
	}
	for _, peer := range peers {
		harness.Eventually(t, harness.Timeout, peer.Name+" pins it", func() error {
			held, err := pinned(peer, old)
			if err == nil && !held {
				err = harness.ErrNotYet
			}
			return err
		})
	}
	s.client.Stop()
	if status, err := s.replace(old, fresh, origin); err != nil || status != http.StatusAccepted {
		t.Fatal(status, err)
	}
	for _, peer := range peers[1:] {
		harness.Eventually(t, harness.Timeout, "another peer shows the new pin alone", func() error {
			page, err := peer.List("status=queued,pinning,pinned,failed")
			if err == nil && (page.Count != 1 || page.Results[0].Pin.CID != fresh || page.Results[0].Info["kept"] != old) {
				err = fmt.Errorf("it lists %+v", page)
			}
			return err
		})
		if _, err := peer.Get(old); err == nil {
			t.Error("another peer knows the old request ID")
		}
	}
	peers[0].Kill()
	for _, peer := range peers[1:] {
		if held, err := pinned(peer, old); !held || err != nil {
			t.Fatalf("the old content is pinned: %t, %v", held, err)
		}
	}
	s.client.Start()
	for _, peer := range peers[1:] {
		peer.Ipfs("swarm", "connect", s.origin())
	}
	s.peer = peers[1]
	s.waitStatus(fresh, "pinned")
	for _, peer := range peers[1:] {
		unpinned(t, peer, old)
		harness.Eventually(t, harness.Timeout, peer.Name+" pins the new content", func() error {
			held, err := pinned(peer, fresh)
			if err == nil && !held {
				err = harness.ErrNotYet
			}
			return err
		})
		peer.Ipfs("repo", "gc", "--quiet")
		if err := peer.HoldsOffline(fresh); err != nil {
			t.Error(err)
		}
	}
}

// Nobody has the new content. The old one stays for good, and info says so; a delete of the new pin
// releases it.
func TestReplaceByWhatNobodyHasKeepsTheOldContent(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	s := &replaceService{t, h.Peer(harness.InitOptions{}), h.Kubo()}
	s.peer.Edit(func(c harness.Section) {
		c.Section("ipfs_connector", "ipfshttp").Set("pin_timeout", "2s")
		c.Section("api", "pinsvcapi").Set("max_pin_attempts", 1)
	})
	s.peer.Start()
	s.client.Start()
	old := s.add(1)
	if r, err := s.peer.Ask(http.MethodPost, "/pins", map[string]any{"cid": old, "origins": []string{s.origin()}}); err != nil || r.Status != http.StatusAccepted {
		t.Fatalf("%d %s, %v", r.Status, r.Body, err)
	}
	s.peer.WaitPinned(old)
	s.client.Stop()
	const nobodys = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
	if status, err := s.replace(old, nobodys); err != nil || status != http.StatusAccepted {
		t.Fatal(status, err)
	}
	s.waitStatus(nobodys, "failed")
	keeps := func() {
		t.Helper()
		pin, err := s.peer.Get(nobodys)
		if err != nil || pin.Info["kept"] != old {
			t.Errorf("%+v, %v", pin, err)
		}
		if held, err := pinned(s.peer, old); !held || err != nil {
			t.Fatalf("the old content is pinned: %t, %v", held, err)
		}
		s.peer.Ipfs("repo", "gc", "--quiet")
		if err := s.peer.HoldsOffline(old); err != nil {
			t.Fatal(err)
		}
	}
	keeps()
	s.peer.Kill()
	s.peer.Start()
	keeps()
	if r, err := s.peer.Ask(http.MethodDelete, "/pins/"+nobodys, nil); err != nil || r.Status != http.StatusAccepted {
		t.Fatalf("%d %s, %v", r.Status, r.Body, err)
	}
	unpinned(t, s.peer, old)
	page, err := s.peer.List("status=queued,pinning,pinned,failed")
	if err != nil || page.Count != 0 {
		t.Errorf("left: %+v, %v", page, err)
	}
}

// Kubo's policy replaces the root of the files, and the laptop is closed before the service has
// fetched anything of the new one: the files as they were stay.
func TestKubosPolicyLosesNothingWhenTheClientGoesAway(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	client := mfsClient(h, peer)
	root := func() string { return strings.TrimSpace(client.Ipfs("files", "stat", "--hash", "/")) }
	shows := func(root string, statuses ...string) {
		t.Helper()
		harness.Eventually(t, harness.Timeout, "the service shows the root", func() error {
			page, err := peer.List("name=my+files&status=queued,pinning,pinned,failed")
			if err == nil && (page.Count != 1 || page.Results[0].Pin.CID != root || !slices.Contains(statuses, page.Results[0].Status)) {
				err = fmt.Errorf("it lists %+v, the root is %s", page, root)
			}
			return err
		})
	}
	client.IpfsStdin(strings.Repeat("the only copy ", 100_000), "files", "write", "--create", "/thesis")
	old := root()
	shows(old, "pinned")
	before, err := peer.Get(old)
	if err != nil {
		t.Fatal(err)
	}
	key := before.RequestID // The form in which the service pins it.

	node := managedKubo(t, peer)
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(node, s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP) // The service fetches nothing.
	client.IpfsStdin("more", "files", "write", "--create", "/more")
	fresh := root()
	shows(fresh, "queued", "pinning")
	client.Kill()
	signal(syscall.SIGCONT)

	harness.Always(t, 3*harness.Settle, "the files are pinned", func() error {
		held, err := pinned(peer, key)
		if err == nil && !held {
			err = fmt.Errorf("the root %s is not pinned", old)
		}
		return err
	})
	peer.Ipfs("repo", "gc", "--quiet")
	if err := peer.HoldsOffline(old); err != nil {
		t.Error(err)
	}
	pin, err := peer.Get(fresh)
	if err != nil || pin.Status == "pinned" || pin.Info["kept"] != key {
		t.Errorf("%+v, %v", pin, err)
	}
	// The laptop is opened again, somewhere else.
	client.Start()
	client.Ipfs("swarm", "connect", pin.Delegates[0])
	shows(fresh, "pinned")
	unpinned(t, peer, key)
}
