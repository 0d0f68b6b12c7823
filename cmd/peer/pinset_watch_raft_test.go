//go:build !race || nocheckptr

package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// raftPeers are the files of a Raft cluster.
func raftPeers(t *testing.T, n int) []Files {
	t.Helper()
	node := externalNode(t, rpcOfID(t, firstID))
	all, ids := make([]Files, n), make([]string, n)
	for i := range all {
		all[i] = upstreamFiles(t, "raft", "", noAPIs, node)
		ids[i] = loaded(t, all[i]).Helper.Identity().ID.String()
	}
	for _, files := range all {
		editFile(t, files.Config, func(sections map[string]map[string]any) {
			sections["cluster"]["secret"] = strings.Repeat("5b", 32)
			sections["consensus"]["raft"].(map[string]any)["init_peerset"] = ids
		})
	}
	return all
}

// startRaft starts peers that compare their pinsets many times a second, beside those that run.
func startRaft(t *testing.T, running []*Peer, files ...Files) []*Peer {
	t.Helper()
	var started []*Peer
	for _, f := range files {
		var addrs []string
		for _, p := range append(running, started...) {
			addrs = append(addrs, p.network.host.Addrs()[0].String()+"/p2p/"+p.ID().String())
		}
		editFile(t, f.Config, func(sections map[string]map[string]any) { sections["cluster"]["peer_addresses"] = addrs })
		p, _ := newPeer(t, f, func(o *Options) { o.PinsetInterval = 100 * time.Millisecond })
		noError(t, p.Start(t.Context()))
		started = append(started, p)
	}
	for _, p := range started {
		await.Closed(t, "readiness of "+p.ID().String(), p.Ready())
	}
	return started
}

// raftLeader is the peer that all take for the leader.
func raftLeader(t *testing.T, all []*Peer) (lead int) {
	t.Helper()
	await.Success(t, "a leader", func() error {
		leaders := make(map[peer.ID]bool)
		for i, p := range all {
			id, err := p.consensus.Leader(t.Context())
			if err != nil {
				return err
			}
			if leaders[id] = true; id == p.ID() {
				lead = i
			}
		}
		if len(leaders) != 1 {
			return fmt.Errorf("%d leaders", len(leaders))
		}
		return nil
	})
	return lead
}

// allSettled waits until all peers have the same pins and know it.
func allSettled(t *testing.T, all []*Peer) {
	t.Helper()
	for _, p := range all[1:] {
		settled(t, all[0], p)
	}
}

// damage changes the last snapshot of a stopped peer: one pin is lost, another one has another name,
// and one is there that nobody has pinned.
func damage(t *testing.T, files Files, lost, renamed, added api.Pin) {
	t.Helper()
	pinset, err := loaded(t, files).openPinset(t.Context())
	noError(t, err)
	noError(t, pinset.state.Rm(t.Context(), lost.Cid))
	renamed.Name = "damaged"
	noError(t, pinset.state.Add(t.Context(), renamed))
	noError(t, pinset.state.Add(t.Context(), added))
	noError(t, pinset.commit(t.Context()))
	noError(t, pinset.close())
}

// What a follower has lost, or has otherwise than the leader, it restores from the leader, and its
// tracker follows. The pins that changed meanwhile are as their last change left them.
func TestDivergence_ARaftPeerRestoresFromTheLeader(t *testing.T) {
	files := raftPeers(t, 3)
	all := startRaft(t, nil, files...)
	pins := make([]api.Pin, 6)
	for i := range pins {
		pins[i] = pinNamed(t, fmt.Sprint("pin ", i))
		noError(t, all[0].consensus.LogPin(t.Context(), pins[i]))
	}
	stray := pinNamed(t, "stray")
	allSettled(t, all)
	hurt := (raftLeader(t, all) + 1) % len(all)
	others := append(append([]*Peer(nil), all[:hurt]...), all[hurt+1:]...)
	noError(t, all[hurt].Stop(context.Background()))
	damage(t, files[hurt], pins[0], pins[1], stray)
	all[hurt] = startRaft(t, others, files[hurt])[0]
	again := all[hurt]
	told(t, again, "its pinset differs from this peer's in at least 3 pins, for longer than changes take to arrive")
	await.Success(t, "the repair", func() error {
		for _, p := range all {
			for i, pin := range pins {
				if got, want := named(p, pin), fmt.Sprint("pin ", i); got != want {
					return fmt.Errorf("%s is %q", want, got)
				}
			}
			if got := named(p, stray); got != "" {
				return fmt.Errorf("the stray pin is %q", got)
			}
		}
		return nil
	})
	allSettled(t, all)
	if n := again.watcher.Stats().Repaired; n != 3 {
		t.Errorf("%d pins were repaired, want 3", n)
	}
	for _, p := range others {
		if n := p.watcher.Stats().Repaired; n != 0 {
			t.Errorf("%d pins were repaired at a peer that was right", n)
		}
	}
	// Nobody answers for the IPFS node here, so what the tracker was told fails.
	tracked := func(pin api.Pin) api.TrackerStatus { return again.tracker.Status(t.Context(), pin.Cid).Status }
	await.Success(t, "the tracker", func() error {
		if got := tracked(stray); got != api.TrackerStatusUnpinned && got != api.TrackerStatusUnpinError {
			return fmt.Errorf("the stray pin is %s", got)
		}
		if got := tracked(pins[0]); got == api.TrackerStatusUnpinned {
			return errors.New("the restored pin is not tracked")
		}
		return nil
	})
}

// Two peers that agree against the leader are told, and so is a peer that differs while a third one
// cannot be asked. The leader repairs nothing in its own state.
func TestDivergence_NothingIsRestoredFromALeaderThatStandsAlone(t *testing.T) {
	all := startRaft(t, nil, raftPeers(t, 3)...)
	kept, lost := pinNamed(t, "kept"), pinNamed(t, "lost")
	for _, pin := range []api.Pin{kept, lost} {
		noError(t, all[0].consensus.LogPin(t.Context(), pin))
	}
	allSettled(t, all)
	lead := raftLeader(t, all)
	noError(t, all[lead].pinset.Delete(t.Context(), datastore.NewKey("/r").ChildString(stateKey(lost))))
	for i, p := range all {
		others := 2
		if i != lead {
			others = 1
		}
		told(t, p, fmt.Sprintf("%d of 2 other peers: its pinset differs from this peer's in at least 1 pin, for longer than changes take to arrive", others))
	}
	// All have found it once; it is examined again and again.
	for range 3 {
		for i, p := range all {
			want := "lost"
			if i == lead {
				want = ""
			}
			if got := named(p, lost); got != want || p.watcher.Stats().Repaired != 0 {
				t.Fatalf("peer %d has %q, %+v", i, got, p.watcher.Stats())
			}
		}
		time.Sleep(time.Second) // For ten samples, each of which would do what must not be done.
	}
	// A change sets the pin everywhere.
	noError(t, all[lead].consensus.LogPin(t.Context(), lost))
	allSettled(t, all)
}
