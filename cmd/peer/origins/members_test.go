package origins

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// memberNode is the IPFS node of a member.
func memberNode(t *testing.T, n int, addrs ...string) peer.AddrInfo {
	t.Helper()
	node := peer.AddrInfo{ID: nodeID(n)}
	for _, text := range addrs {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		node.Addrs = append(node.Addrs, addr)
	}
	return node
}

// fakeMembers are members whose IDs are those of nodes from 100 on.
type fakeMembers struct {
	mu    sync.Mutex
	nodes map[peer.ID]peer.AddrInfo
	err   error
	looks int
}

func (f *fakeMembers) ask(context.Context) (map[peer.ID]peer.AddrInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	nodes := make(map[peer.ID]peer.AddrInfo)
	for id, node := range f.nodes {
		nodes[id] = node
	}
	return nodes, f.err
}

// change changes what the members reply.
func (f *fakeMembers) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// follow has the world's connector know the nodes 1 to n as those of the members 101 and so on.
func (w *world) follow(n int) *fakeMembers {
	w.t.Helper()
	f := &fakeMembers{nodes: make(map[peer.ID]peer.AddrInfo)}
	for i := 1; i <= n; i++ {
		f.nodes[nodeID(100+i)] = memberNode(w.t, i, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 4000+i))
	}
	w.dialler.members.start(f.ask)
	synctest.Wait()
	return f
}

// Content that comes at once makes no dials; a pin that waits for it dials the nodes of all
// members, and no further pin dials one again that is connected or away.
func TestMembers_AreDialledWhenContentDoesNotCome(t *testing.T) {
	inBubble(t, func(w *world) {
		w.follow(3)
		w.swarm.set(w.swarm.reachable, nodeID(1))
		w.swarm.set(w.swarm.refused, nodeID(2))
		w.ipfs.takes = 50 * time.Millisecond
		for i := range 20 {
			end := w.pin(record(i))
			w.after(60 * time.Millisecond)
			end()
		}
		if n := w.swarm.count(); n != 0 {
			t.Errorf("%d dials for content that came at once", n)
		}
		w.ipfs.takes = time.Hour
		end := w.pin(record(100))
		w.after(200 * time.Millisecond)
		for n := 1; n <= 3; n++ {
			if got := len(w.swarm.of(nodeID(n))); got != 1 {
				t.Errorf("node %d was dialled %d times", n, got)
			}
		}
		var ends []func()
		for i := range 50 {
			ends = append(ends, w.pin(record(200+i)))
			w.after(10 * time.Millisecond)
		}
		w.after(200 * time.Millisecond)
		if n := w.swarm.count(); n != 3 {
			t.Errorf("%d dials of 3 nodes", n)
		}
		w.after(time.Hour / 2)
		for n, most := range map[int]int{1: 30 * 60 / 7, 2: 30 * 60 / 20, 3: 30 * 60 / 20} {
			if got := len(w.swarm.of(nodeID(n))); got > most {
				t.Errorf("node %d was dialled %d times in half an hour", n, got)
			}
		}
		for _, e := range append(ends, end) {
			e()
		}
	})
}

// A node that is connected already, with a public address, is asked by Kubo only if it is in the
// peering subsystem before the pin begins, also right after a restart.
func TestMembers_ArePeeredBeforeThePin(t *testing.T) {
	inBubble(t, func(w *world) {
		w.follow(2)
		there := false
		w.IPFSConnector = inspectIPFS{w.ipfs, func() { there = w.swarm.peered(nodeID(1)) && w.swarm.peered(nodeID(2)) }}
		w.pin(record(1))()
		if !there {
			t.Error("the nodes of the members came into the peering subsystem too late")
		}
		_ = w.swarm.RemovePeers(context.Background(), ids(1, 2))
		w.restarts++
		there = false
		w.pin(record(2))()
		if !there {
			t.Error("a node that was restarted does not know them")
		}
		w.after(3 * peeringLinger)
		if w.swarm.peered(nodeID(1)) {
			t.Error("they stay although nothing is pinned")
		}
	})
}

// A node that has another address after its restart is dialled there, and a member that gives no
// reply keeps the node that it had.
func TestMembers_MoveAndGiveNoReply(t *testing.T) {
	inBubble(t, func(w *world) {
		f := w.follow(2)
		w.swarm.set(w.swarm.refused, nodeID(1))
		end := w.pin(record(1))
		w.after(time.Second)
		f.change(func() {
			f.nodes[nodeID(101)] = memberNode(t, 1, "/ip4/127.0.0.1/tcp/5001")
			f.nodes[nodeID(102)] = peer.AddrInfo{}
		})
		before := len(w.swarm.of(nodeID(1)))
		w.after(membersSoon)
		if got := w.swarm.last(); len(w.swarm.of(nodeID(1))) == before || got.ID != nodeID(1) || len(got.Addrs) != 2 {
			t.Errorf("after the move the last dial is %v", got)
		}
		end()
		f.change(func() { f.err = errors.New("no members") })
		w.after(time.Hour)
		if got := w.dialler.members.first(nil); len(got) != 2 {
			t.Errorf("the nodes are %v", got)
		}
	})
}

// The peers that should hold a pin come first when there are many members, and a cluster that is
// idle is looked at once a minute.
func TestMembers_AllocatedOnesFirst(t *testing.T) {
	inBubble(t, func(w *world) {
		f := w.follow(200)
		for n := 1; n <= 200; n++ {
			got := w.dialler.members.first([]peer.ID{nodeID(100 + n), nodeID(5000)})
			if len(got) != maxMembers || got[0].ID != nodeID(n) {
				t.Fatalf("%d nodes, the first is %s", len(got), got[0].ID)
			}
		}
		w.after(time.Hour)
		f.change(func() {
			if f.looks < 50 || f.looks > 62 {
				t.Errorf("%d looks in an hour", f.looks)
			}
		})
	})
}
