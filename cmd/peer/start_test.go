//go:build !race || nocheckptr

// With Raft, see raft_test.go.

package peer

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// door is the address of a peer that comes up late: it refuses connections, and
// forwards them once it is open.
type door struct {
	net.Listener
	refused chan struct{} // Closed at the first refusal.
	wg      sync.WaitGroup

	mu    sync.Mutex
	to    string // Empty while the door is shut.
	conns []net.Conn
}

func newDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	d := &door{Listener: l, refused: make(chan struct{})}
	d.wg.Go(d.accept)
	t.Cleanup(func() {
		l.Close()
		d.mu.Lock()
		for _, conn := range d.conns {
			conn.Close()
		}
		d.mu.Unlock()
		d.wg.Wait()
	})
	return d
}

func (d *door) accept() {
	refuse := sync.OnceFunc(func() { close(d.refused) })
	for {
		client, err := d.Accept()
		if err != nil {
			return
		}
		server := d.dial(client)
		if server == nil {
			client.Close()
			refuse()
			continue
		}
		d.wg.Go(func() { _, _ = io.Copy(server, client); server.Close() })
		d.wg.Go(func() { _, _ = io.Copy(client, server); client.Close() })
	}
}

// dial returns the other end for a client, nil while the door is shut.
func (d *door) dial(client net.Conn) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.to == "" {
		return nil
	}
	server, err := net.Dial("tcp", d.to)
	if err != nil {
		return nil
	}
	d.conns = append(d.conns, client, server)
	return server
}

func (d *door) open(t *testing.T, addr ma.Multiaddr) {
	t.Helper()
	_, hostport, err := manet.DialArgs(addr)
	noError(t, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = hostport
}

// addr is the address of the peer behind the door.
func (d *door) addr(t *testing.T, id peer.ID) ma.Multiaddr {
	t.Helper()
	addr, err := manet.FromNetAddr(d.Addr())
	noError(t, err)
	return addr.Encapsulate(ma.StringCast("/p2p/" + id.String()))
}

// A peer joins a bootstrap peer that comes up after it. With Raft nothing else
// connects the two, and the peer is not ready before; CRDT peers find each other
// some time later, if the bootstrap peer's address is known.
func TestPeer_JoinsABootstrapPeerThatComesUpLate(t *testing.T) {
	node := externalNode(t, rpcOfID(t, firstID))
	secret := func(sections map[string]map[string]any) { sections["cluster"]["secret"] = strings.Repeat("23", 32) }
	late := upstreamFiles(t, "raft", "", noAPIs, node, secret)
	address := newDoor(t)
	early, _ := newPeer(t, upstreamFiles(t, "raft", "", noAPIs, node, secret), func(o *Options) {
		o.Bootstraps = []ma.Multiaddr{address.addr(t, loaded(t, late).Helper.Identity().ID)}
	})
	noError(t, early.Start(t.Context()))
	await.Closed(t, "a failed attempt", address.refused)

	bootstrap, _ := newPeer(t, late)
	noError(t, bootstrap.Start(t.Context()))
	await.Closed(t, "readiness of the bootstrap peer", bootstrap.Ready())
	address.open(t, bootstrap.network.host.Addrs()[0])
	await.Closed(t, "readiness of the peer that joins", early.Ready())
	members, err := bootstrap.consensus.Peers(t.Context())
	noError(t, err)
	if len(members) != 2 || !slices.Contains(members, early.ID()) {
		t.Errorf("the cluster has the peers %v, not %s", members, early.ID())
	}
}
