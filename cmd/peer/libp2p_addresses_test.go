package peer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/ipfs-cluster/ipfs-cluster/version"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// addressHost is a host that speaks the cluster's RPC.
func addressHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	h.SetStreamHandler(version.RPCProtocol, func(s libp2pnetwork.Stream) { _ = s.Reset() })
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// line is what the file says of a host.
func line(h host.Host) string { return h.Addrs()[0].String() + "/p2p/" + h.ID().String() + "\n" }

func TestAddressBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, away, joined, stranger := addressHost(t), addressHost(t), addressHost(t), addressHost(t)
	stranger.RemoveStreamHandler(version.RPCProtocol)
	const unreadable = "no address\n/ip4/nonsense\n"
	domain := "/dns4/peer.invalid/tcp/9096/p2p/" + away.ID().String() + "\n"
	if err := os.WriteFile(path, []byte(unreadable+domain+line(self)), 0o600); err != nil {
		t.Fatal(err)
	}
	saved := func(b *addressBook) string {
		t.Helper()
		b.update()
		if err := b.save(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	entry := line(joined)
	book := openAddressBook(t.Context(), self, path)
	if got := saved(book); got != unreadable+domain+line(self) {
		t.Errorf("a file without news was written: %q", got)
	}

	// A peer of the cluster is entered once it is connected, and nobody else.
	for _, other := range []host.Host{joined, stranger} {
		if err := other.Connect(t.Context(), libp2ppeer.AddrInfo{ID: self.ID(), Addrs: self.Addrs()}); err != nil {
			t.Fatal(err)
		}
	}
	await.Success(t, "the peer in the file", func() error {
		if got := saved(book); got != domain+entry {
			return fmt.Errorf("%q instead of %q", got, domain+entry)
		}
		return nil
	})

	// It stays when it is away, and after a restart.
	_ = joined.Close()
	for _, id := range []libp2ppeer.ID{joined.ID(), away.ID()} {
		if len(self.Peerstore().Addrs(id)) == 0 {
			t.Errorf("the host has no address of %s", id)
		}
	}
	if got := saved(book); got != domain+entry {
		t.Errorf("%q after the peer went away", got)
	}
	again := addressHost(t)
	book = openAddressBook(t.Context(), again, path)
	if got := saved(book); got != domain+entry || len(again.Peerstore().Addrs(joined.ID())) != 1 {
		t.Errorf("%q after a restart", got)
	}

	// One that left the cluster does not.
	again.Peerstore().ClearAddrs(away.ID())
	if got := saved(book); got != entry || strings.Contains(got, "invalid") {
		t.Errorf("%q after a peer left", got)
	}
}

// A peer that could not be reached is dialled again soon after it can be, however long it was away,
// and strangers are not.
func TestAddressBook_FailedDialsOfClusterPeersAreForgotten(t *testing.T) {
	self, other := addressHost(t), addressHost(t)
	gone := libp2ppeer.AddrInfo{ID: other.ID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/1")}}
	path := filepath.Join(t.TempDir(), "peerstore")
	book := openAddressBook(t.Context(), self, path)
	refused := false
	for range 2 { // The first dial fails at the address, or is refused.
		err := self.Connect(libp2pnetwork.WithDialPeerTimeout(t.Context(), deadline), gone)
		refused = refused || errors.Is(err, swarm.ErrDialBackoff)
	}
	if !refused {
		t.Fatal("libp2p does not refuse to dial a peer that could not be reached")
	}
	book.update()
	if err := self.Connect(t.Context(), gone); !errors.Is(err, swarm.ErrDialBackoff) {
		t.Errorf("a stranger is dialled: %v", err)
	}
	// libp2p knows no protocol of a peer that is away for more than a minute.
	noError(t, os.WriteFile(path, []byte(gone.Addrs[0].String()+"/p2p/"+gone.ID.String()+"\n"), 0o600))
	book = openAddressBook(t.Context(), self, path)
	book.update()
	if err := self.Connect(t.Context(), gone); err == nil || errors.Is(err, swarm.ErrDialBackoff) {
		t.Errorf("a peer of the cluster is not dialled: %v", err)
	}
}
