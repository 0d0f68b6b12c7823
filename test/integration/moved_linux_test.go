package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// restJSON reads the stream of JSON values that the REST API sends.
func restJSON[T any](p *harness.Peer, path string, each func(T)) error {
	req, err := http.NewRequest(http.MethodGet, p.RESTEndpoint()+path, nil)
	if err != nil {
		return err
	}
	r, err := harness.Send(req)
	if err != nil {
		return err
	}
	if r.Status != http.StatusOK && r.Status != http.StatusNoContent {
		return fmt.Errorf("GET %s: %d %s", path, r.Status, r.Body)
	}
	for dec := json.NewDecoder(bytes.NewReader(r.Body)); dec.More(); {
		var value T
		if err := dec.Decode(&value); err != nil {
			return err
		}
		each(value)
	}
	return nil
}

// allocations are the pins of the state of a peer, and who is to hold them.
func allocations(p *harness.Peer) (map[string]string, error) {
	all := map[string]string{}
	err := restJSON(p, "/allocations", func(pin struct {
		CID         string
		Allocations []string
	}) {
		all[pin.CID] = fmt.Sprint(pin.Allocations)
	})
	return all, err
}

// others are the pins that a peer says others are to hold.
func others(p *harness.Peer) (map[string]string, error) {
	all := map[string]string{}
	err := restJSON(p, "/pins?local=true&filter=remote", func(pin struct {
		CID     string
		PeerMap map[string]struct{ Status string } `json:"peer_map"`
	}) {
		all[pin.CID] = pin.PeerMap[p.ID()].Status
	})
	return all, err
}

// agree fails while the states of the peers differ, or do not have a pin.
func agree(one, two *harness.Peer, cids ...string) error {
	a, errA := allocations(one)
	b, errB := allocations(two)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if !maps.Equal(a, b) {
		return fmt.Errorf("the states are %v and %v", a, b)
	}
	for _, c := range cids {
		if _, ok := a[c]; !ok {
			return fmt.Errorf("%s is in neither state", c)
		}
	}
	return nil
}

// The IPFS node of one peer is frozen. Pins that the other peer is to hold concern that node only in that
// they are to be removed from it: no write waits for that, at either peer (U98).
func TestAFrozenIPFSNodeStopsNoWriteOfPinsThatOthersHold(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	one := h.Peer(harness.InitOptions{Args: []string{"--consensus", "crdt"}})
	node := h.Kubo()
	two := h.Peer(harness.InitOptions{
		Args: []string{"--consensus", "crdt"}, Env: []string{"CLUSTER_SECRET=" + one.Secret()}, ExternalIPFS: node.FixRPCPort(),
	})
	for _, p := range []*harness.Peer{one, two} {
		p.Edit(func(c harness.Section) { c.Section("cluster").Set("monitor_ping_interval", "2s") })
	}
	node.Start()
	one.Start()
	two.StartOnly("--bootstrap", one.Address())
	two.WaitReady()
	for _, p := range []*harness.Peer{one, two} {
		for _, to := range []*harness.Peer{one, two} {
			harness.Eventually(t, harness.Timeout, "each may allocate to each", func() error { return restAllocates(p, to) })
		}
	}
	content := func(name string) string { return inline(t, name).String() }
	onNode := func() map[string]bool { return kuboPins(node.Ipfs("pin", "ls", "--type=recursive", "--quiet")) }
	held, moved, back, deleted := content("held by one"), content("moved to one"), content("moved and back"), content("deleted")
	allocate(t, one, held, one)
	for _, c := range []string{moved, back, deleted} {
		everybody(t, one, c)
		waitStatus(t, harness.Timeout, one, c, "pinned")
	}
	if pins := onNode(); !pins[moved] || !pins[back] || !pins[deleted] {
		t.Fatalf("two's node has %v", pins)
	}
	harness.Eventually(t, harness.Timeout, "both have all", func() error { return agree(one, two, held, moved, back, deleted) })

	frozen := time.Now()
	node.Process().Signal(syscall.SIGSTOP)
	thaw := sync.OnceFunc(func() { node.Process().Signal(syscall.SIGCONT) })
	defer thaw()
	theirs := map[string]string{held: "remote", moved: "remote"}
	allocate(t, one, moved, one)
	allocate(t, one, back, one)
	for n := range 3 {
		atOne, atTwo := content(fmt.Sprint("while frozen, at one ", n)), content(fmt.Sprint("while frozen, at two ", n))
		allocate(t, one, atOne, one)
		began := time.Now()
		allocate(t, two, atTwo, one)
		t.Logf("a write at two takes %s", time.Since(began).Round(time.Millisecond))
		theirs[atOne], theirs[atTwo] = "remote", "remote"
	}
	harness.Eventually(t, harness.Timeout, "two has what one accepted", func() error { return agree(one, two) })
	everybody(t, two, back)
	everywhere := content("everywhere")
	for _, p := range []*harness.Peer{one, two} {
		c := everywhere
		if p == one {
			c = content("everywhere, by one")
		}
		if r := request(t, p, http.MethodPost, "/pins", map[string]string{"cid": c}); r.Status != http.StatusAccepted {
			t.Errorf("POST: %d %s", r.Status, r.Body)
		}
	}
	if r := request(t, two, http.MethodDelete, "/pins/"+deleted, nil); r.Status != http.StatusAccepted {
		t.Errorf("DELETE: %d %s", r.Status, r.Body)
	}
	harness.Eventually(t, harness.Timeout, "the states agree", func() error { return agree(one, two, everywhere) })
	t.Logf("%s after the freeze the states agree", time.Since(frozen).Round(time.Millisecond))

	// For longer than a removal may take.
	harness.Always(t, 40*time.Second, "the states agree, and the statuses are true", func() error {
		if err := agree(one, two, everywhere); err != nil {
			return err
		}
		got, err := others(two)
		if err != nil {
			return err
		}
		if !maps.Equal(got, theirs) {
			return fmt.Errorf("two says of others %v, want %v", got, theirs)
		}
		for c := range theirs {
			if pin, err := two.Get(c); err != nil || pin.Status != "pinned" {
				return fmt.Errorf("at two %s, which one holds, is %s, %v", c, pin.Status, err)
			}
		}
		return nil
	})

	thaw()
	thawed := time.Now()
	harness.Eventually(t, 30*time.Second, "the node has what two is to hold, and no more", func() error {
		pins := onNode()
		if pins[moved] || pins[deleted] || !pins[back] || !pins[everywhere] {
			return fmt.Errorf("it has the moved one: %t, the deleted one: %t, the one that came back: %t, that of all: %t",
				pins[moved], pins[deleted], pins[back], pins[everywhere])
		}
		return nil
	})
	t.Logf("%s after the thaw the node has what it should", time.Since(thawed).Round(time.Millisecond))
	waitStatus(t, 30*time.Second, two, everywhere, "pinned")
	waitStatus(t, 30*time.Second, two, back, "pinned")
	harness.Always(t, harness.Settle, "and that stays so", func() error {
		if pins := onNode(); pins[moved] || !pins[back] {
			return fmt.Errorf("it has the moved one: %t, the one that came back: %t", pins[moved], pins[back])
		}
		return nil
	})
}

// What a peer had to unpin because others hold it, and forgot at a restart, is found by a scan, and
// removed once those who are to hold it say that they do.
func TestPinsThatMovedWhileAnIPFSNodeWasAwayAreRemoved(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, "crdt")
	one, two := peers[0], peers[1]
	contents := heldByAll(t, peers, 3)
	two.Edit(func(c harness.Section) {
		c.Section("ipfs_connector", "managed").Set("restart_delay_min", "1m")
		c.Section("cluster").Set("pin_recover_interval", "5s")
	})
	two.Stop()
	two.Start()
	kill(t, managedKubo(t, two))
	for _, c := range contents {
		allocate(t, one, c, one)
	}
	harness.Eventually(t, harness.Timeout, "two knows that they moved", func() error {
		got, err := others(two)
		if err == nil && len(got) != len(contents) {
			err = fmt.Errorf("it says of others %v", got)
		}
		return err
	})
	two.Stop()
	one.Stop()
	two.Start()
	harness.Eventually(t, harness.Timeout, "they are told, while nobody says that the other one has them", func() error {
		r, err := two.Ask(http.MethodGet, "/ready", nil)
		if err == nil && !strings.Contains(string(r.Body), "does not have: 3") {
			err = fmt.Errorf("%s", r.Body)
		}
		return err
	})
	for _, c := range contents {
		if gone(two, []string{c}) == nil {
			t.Errorf("%s, which nobody else is known to have, is removed", c)
		}
	}
	one.Start()
	harness.Eventually(t, time.Minute, "they are removed", func() error { return gone(two, contents) })
}

// Pins are given to a peer that cannot get their content, as those of a peer that was away may be. The one
// that has it comes to know, and keeps it until the other one has it too (U98).
func TestPinsThatMovedToAPeerWithoutThemStay(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, "crdt")
	one, two := peers[0], peers[1]
	one.Edit(func(c harness.Section) {
		c.Section("ipfs_connector", "managed").Set("restart_delay_min", "20s")
		c.Section("cluster").Set("pin_recover_interval", "5s")
	})
	one.Stop()
	one.Start()
	contents := heldByAll(t, peers, 3)
	harness.Eventually(t, harness.Timeout, "two may allocate to one", func() error { return restAllocates(two, one) })
	kill(t, managedKubo(t, one))
	for _, c := range contents {
		allocate(t, two, c, one)
	}
	harness.Eventually(t, harness.Timeout, "two knows that they moved", func() error {
		got, err := others(two)
		if err == nil && len(got) != len(contents) {
			err = fmt.Errorf("it says of others %v", got)
		}
		return err
	})
	harness.Always(t, harness.Settle, "two has the content", func() error {
		for _, c := range contents {
			if gone(two, []string{c}) == nil {
				return fmt.Errorf("%s is removed, and the other node is away", c)
			}
		}
		return nil
	})
	harness.Eventually(t, 4*time.Minute, "they are removed when one has them", func() error { return gone(two, contents) })
	if gone(one, contents) == nil {
		t.Error("nobody has them")
	}
}

// everybody has all peers hold a pin, through the REST API of one.
func everybody(t *testing.T, at *harness.Peer, cid string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, at.RESTEndpoint()+"/pins/"+cid+"?replication-min=-1&replication-max=-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := harness.Send(req); err != nil || r.Status != http.StatusOK {
		t.Fatalf("%v %d %s", err, r.Status, r.Body)
	}
}

// restAllocates fails until a peer knows enough of another one to allocate pins to it.
func restAllocates(at, to *harness.Peer) error {
	found := false
	err := restJSON(at, "/monitor/metrics/freespace", func(metrics []struct{ Peer string }) {
		for _, m := range metrics {
			found = found || m.Peer == to.ID()
		}
	})
	if err == nil && !found {
		err = harness.ErrNotYet
	}
	return err
}
