package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// The managed node is started again, with all that it holds.
func TestManagedKuboThatDiesIsStartedAgain(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	client := h.Kubo()
	client.Start()
	client.AddService("svc", peer.Endpoint(), peer.Token())
	c := client.Add("survives")
	client.Ipfs("pin", "remote", "add", "--service=svc", c.String())

	before := managedKubo(t, peer)
	kill(t, before)
	harness.Eventually(t, harness.ReadyTimeout, "another Kubo runs", func() error {
		for _, pid := range harness.Kubos(peer.Dir) {
			if pid != before {
				return nil
			}
		}
		return harness.ErrNotYet
	})
	peer.WaitReady()
	peer.WaitPinned(c.String())
	second := client.Add("after the restart")
	client.Ipfs("pin", "remote", "add", "--service=svc", second.String())
}

func TestStopLeavesNothingBehindAndTheNextRunGoesOn(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	client := h.Kubo()
	client.Start()
	client.AddService("svc", peer.Endpoint(), peer.Token())
	c := client.Add("goes on")
	client.Ipfs("pin", "remote", "add", "--service=svc", "--name=goes on", c.String())
	client.Stop()
	first, err := peer.Get(c.String())
	if err != nil {
		t.Fatal(err)
	}
	cluster, ipfs := peer.ID(), strings.TrimSpace(peer.Ipfs("config", "Identity.PeerID"))

	peer.Stop()
	if left := harness.Kubos(peer.Dir); len(left) != 0 {
		t.Fatalf("after the stop these processes are left: %v", left)
	}
	if err := peer.Ready(); err == nil {
		t.Error("the API still answers")
	}

	peer.Start()
	again, err := peer.Get(c.String())
	if err != nil {
		t.Fatal(err)
	}
	if again.Status != "pinned" || !again.Created.Equal(first.Created) || again.Pin.Name != "goes on" {
		t.Errorf("before the stop %+v, after it %+v", first, again)
	}
	if peer.ID() != cluster || strings.TrimSpace(peer.Ipfs("config", "Identity.PeerID")) != ipfs {
		t.Error("the second run has another identity")
	}
}

// Killed without warning, the daemon takes its Kubo along, and its locks do
// not stop the next run.
func TestKilledDaemonLeavesNoKuboAndStartsAgain(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	pin := peer.Add(unknown(t, ""), "kept")

	peer.Kill()
	harness.Eventually(t, harness.Timeout, "the managed Kubo has ended", func() error {
		if len(harness.Kubos(peer.Dir)) != 0 {
			return harness.ErrNotYet
		}
		return nil
	})
	peer.Start()
	if got, err := peer.Get(pin.RequestID); err != nil || got.Pin.Name != "kept" {
		t.Errorf("want the pin that was made before the kill, got %v, %v", got, err)
	}
}

// While the managed node is away nobody has given up: no try of a pin counts,
// what was pinned stays so, and all goes on when it is back.
func TestPinsOutliveAManagedKuboThatStaysAway(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Edit(func(c harness.Section) {
		c.Section("ipfs_connector", "managed").Set("restart_delay_min", "15s")
	})
	peer.Start()
	client := h.Kubo()
	client.Start()
	client.AddService("svc", peer.Endpoint(), peer.Token())
	held := client.Add("held before")
	client.Ipfs("pin", "remote", "add", "--service=svc", held.String())

	kill(t, managedKubo(t, peer))
	peer.WaitNotReady("IPFS")
	asked := client.Add("asked for meanwhile").String()
	client.Ipfs("pin", "remote", "add", "--service=svc", "--background", asked)
	harness.Always(t, harness.Settle, "nothing fails", func() error {
		now, err := peer.Get(asked)
		if err != nil {
			return err
		}
		if now.Status == "failed" || now.Info["attempts"] != "" {
			return fmt.Errorf("the new pin is %+v", now)
		}
		if now, err = peer.Get(held.String()); err == nil && now.Status != "pinned" {
			err = fmt.Errorf("the old pin is %+v", now)
		}
		return err
	})
	peer.WaitReady()
	peer.WaitPinned(asked)
}

// managedKubo is the ID of the one Kubo daemon that the peer runs.
func managedKubo(t *testing.T, peer *harness.Peer) int {
	t.Helper()
	pids := harness.Kubos(peer.Dir)
	if len(pids) != 1 {
		t.Fatalf("want one managed Kubo, found %v", pids)
	}
	return pids[0]
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
