package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
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

// speakers are the members of a CRDT, nobody of whom has given a sign of life.
var speakers = membership{peers: func(context.Context) []libp2ppeer.ID { return nil }}

// opened is the book of a host with that file.
func opened(t *testing.T, h host.Host, path string, members membership) *addressBook {
	t.Helper()
	b, err := openAddressBook(t.Context(), h, path, members)
	noError(t, err)
	return b
}

// written is what a file has after the book has looked.
func written(t *testing.T, b *addressBook) string {
	t.Helper()
	b.look(t.Context())
	content, err := os.ReadFile(b.path)
	noError(t, err)
	return string(content)
}

// awaitWritten waits for a content of the file.
func awaitWritten(t *testing.T, b *addressBook, want string) {
	t.Helper()
	await.Success(t, "the file", func() error {
		if got := written(t, b); got != want {
			return fmt.Errorf("%q instead of %q", got, want)
		}
		return nil
	})
}

func connect(t *testing.T, from, to host.Host) {
	t.Helper()
	noError(t, from.Connect(t.Context(), libp2ppeer.AddrInfo{ID: to.ID(), Addrs: to.Addrs()}))
}

// awaitIdentified waits until a host knows of another one what identification tells: the protocols, and then the addresses.
func awaitIdentified(t *testing.T, at, other host.Host) {
	t.Helper()
	await.True(t, "identification", func() bool {
		return spokeRPC(at, other.ID()) && len(at.Peerstore().Addrs(other.ID())) > 0
	})
}

func TestAddressBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, away, joined, stranger := addressHost(t), addressHost(t), addressHost(t), addressHost(t)
	stranger.RemoveStreamHandler(version.RPCProtocol)
	before := "/dns4/peer.invalid/tcp/9096/p2p/" + away.ID().String() + "\n" + line(self)
	noError(t, os.WriteFile(path, []byte(before), 0o600))
	book := opened(t, self, path, speakers)
	if got := written(t, book); got != before {
		t.Errorf("a file without news was written: %q", got)
	}

	// A peer of the cluster is entered once it is connected, and nobody else.
	connect(t, joined, self)
	connect(t, stranger, self)
	after := before + line(joined)
	awaitWritten(t, book, after)

	// It stays when it is away, and after a restart.
	noError(t, joined.Close()) // It may tell before that it has no address any more.
	await.Success(t, "addresses to dial", func() error {
		book.look(t.Context())
		for _, id := range []libp2ppeer.ID{joined.ID(), away.ID()} {
			if len(self.Peerstore().Addrs(id)) == 0 {
				return fmt.Errorf("the host has no address of %s", id)
			}
		}
		return nil
	})
	if got := written(t, book); got != after {
		t.Errorf("%q after the peer went away", got)
	}
	again := addressHost(t)
	book = opened(t, again, path, speakers)
	if got := written(t, book); got != after || len(again.Peerstore().Addrs(joined.ID())) != 1 {
		t.Errorf("%q after a restart", got)
	}
}

// Upstream looks up the names of a /dnsaddr itself, and leaves the others to the dialler.
func TestAddressBook_Names(t *testing.T) {
	self, other := addressHost(t), addressHost(t)
	connect(t, other, self)
	named := func(name string) string {
		return "/" + name + "/peer.invalid/tcp/9096/p2p/" + other.ID().String() + "\n"
	}
	for name, want := range map[string]string{
		named("dns"): named("dns"), named("dns4"): named("dns4"), named("dns6"): named("dns6"),
		// The name may stand for other peers too, so this one has a line of its own.
		"/dnsaddr/peer.invalid/p2p/" + other.ID().String() + "\n": "/dnsaddr/peer.invalid/p2p/" + other.ID().String() + "\n" + line(other),
		"/dnsaddr/peer.invalid\n":                                 "/dnsaddr/peer.invalid\n" + line(other),
	} {
		self.Peerstore().ClearAddrs(other.ID())
		self.Peerstore().AddAddrs(other.ID(), other.Addrs(), peerstore.ConnectedAddrTTL)
		path := filepath.Join(t.TempDir(), "peerstore")
		noError(t, os.WriteFile(path, []byte(name), 0o600))
		awaitWritten(t, opened(t, self, path, speakers), want)
	}
}

// libp2p forgets addresses by its clock. A process that was frozen has forgotten nobody.
func TestAddressBook_AfterAFreeze(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, away, there := addressHost(t), addressHost(t), addressHost(t)
	noError(t, os.WriteFile(path, []byte(line(away)), 0o600))
	book := opened(t, self, path, speakers)
	connect(t, there, self)
	all := line(away) + line(there)
	awaitWritten(t, book, all)
	for _, other := range []host.Host{away, there} {
		self.Peerstore().ClearAddrs(other.ID())
	}
	if got := written(t, book); got != all {
		t.Errorf("%q, want %q", got, all)
	}
	noError(t, there.Close())
	await.Success(t, "addresses to dial", func() error {
		book.look(t.Context())
		for _, other := range []host.Host{away, there} {
			if got := self.Peerstore().Addrs(other.ID()); len(got) != 1 {
				return fmt.Errorf("%s: %v", other.ID(), got)
			}
		}
		return nil
	})
	if got := written(t, book); got != all {
		t.Errorf("%q, want %q", got, all)
	}
}

// Raft says who is a member, once it is known what it says.
func TestAddressBook_RaftHasMembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, stays, leaves, joins := addressHost(t), addressHost(t), addressHost(t), addressHost(t)
	name := "/dnsaddr/peer.invalid/p2p/" + leaves.ID().String() + "\n"
	noError(t, os.WriteFile(path, []byte("# peers\n"+line(stays)+line(leaves)+name), 0o600))
	var members []libp2ppeer.ID
	book := opened(t, self, path, membership{closed: true, peers: func(context.Context) []libp2ppeer.ID { return members }})
	connect(t, joins, self)
	awaitWritten(t, book, "# peers\n"+line(stays)+line(leaves)+name+line(joins))

	members = []libp2ppeer.ID{self.ID(), stays.ID()}
	if got, want := written(t, book), "# peers\n"+line(stays); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	members = append(members, joins.ID())
	if got, want := written(t, book), "# peers\n"+line(stays)+line(joins); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for range goneAfter / addressInterval {
		book.update(t.Context())
	}
	if got := written(t, book); strings.Contains(got, "away") {
		t.Errorf("a member is counted as away: %q", got)
	}
}

// A start does not wait for a peer that was away for long, and does dial it. Whoever has been away for
// months is forgotten, unless nobody was there.
func TestAddressBook_PeersThatAreAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, away, there, living := addressHost(t), addressHost(t), addressHost(t), addressHost(t)
	all := line(there) + line(living) + line(away)
	noError(t, os.WriteFile(path, []byte(all), 0o600))
	alive := func(context.Context) []libp2ppeer.ID { return []libp2ppeer.ID{self.ID(), living.ID()} }
	book := opened(t, self, path, membership{peers: alive})
	connect(t, there, self)
	hours := func(book *addressBook, n int) {
		for range time.Duration(n) * time.Hour / addressInterval {
			book.update(t.Context())
		}
	}
	book.update(t.Context())
	if got := written(t, book); got != all {
		t.Fatalf("%q", got)
	}
	hours(book, 1)
	mark := func(h int) string { return fmt.Sprintf("# away for %dh: %s\n", h, away.ID()) }
	if got, want := written(t, book), line(there)+line(living)+mark(1)+line(away); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if len(self.Peerstore().Addrs(away.ID())) == 0 {
		t.Error("a peer that is away for long cannot be dialled")
	}
	hours(book, 1)
	_ = written(t, book)

	// So it is after a restart. Here nobody is there, which nobody else is to blame for.
	alone := addressHost(t)
	restarted := opened(t, alone, path, speakers)
	hours(restarted, 3)
	if got, want := string(restarted.content(goneAfter)), mark(2)+line(away); !strings.HasSuffix(got, want) || strings.Count(got, "# away for 1h: ") != 2 {
		t.Errorf("%q, want %q at the end and the others away for an hour", got, want)
	}
	book.away[away.ID()] = forgottenAfter - 2*addressInterval
	if got, want := written(t, book), line(there)+line(living)+mark(2159)+line(away); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := written(t, book), line(there)+line(living); got != want {
		t.Errorf("%q, want %q", got, want)
	}

	// It knows the others, and is a peer again as soon as it is back.
	connect(t, away, self)
	awaitWritten(t, book, all)
}

// libp2p has them in another order each time.
func TestAddressBook_ManyNamesOfAPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, named, joined := addressHost(t), addressHost(t), addressHost(t)
	var before string
	for _, addr := range []string{"/dns4/peer.invalid/tcp/9096", "/dns4/peer.invalid/udp/9096/quic-v1", "/dns6/peer.invalid/tcp/9096"} {
		before += addr + "/p2p/" + named.ID().String() + "\n"
	}
	noError(t, os.WriteFile(path, []byte(before), 0o600))
	book := opened(t, self, path, speakers)
	connect(t, joined, self)
	awaitWritten(t, book, before+line(joined))
	for range 20 {
		if got, want := written(t, book), before+line(joined); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

// What changed since the last look is saved at the end.
func TestAddressBook_SavesAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, joined := addressHost(t), addressHost(t)
	book := opened(t, self, path, speakers)
	connect(t, joined, self)
	awaitIdentified(t, self, joined)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	book.keep(ctx)
	if content, err := os.ReadFile(path); string(content) != line(joined) {
		t.Errorf("%v %q", err, content)
	}
}

// A peer that could not be reached is dialled again soon after it can be, however long it was away,
// and strangers are not.
func TestAddressBook_FailedDialsOfClusterPeersAreForgotten(t *testing.T) {
	self, other := addressHost(t), addressHost(t)
	gone := libp2ppeer.AddrInfo{ID: other.ID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/1")}}
	path := filepath.Join(t.TempDir(), "peerstore")
	book := opened(t, self, path, speakers)
	refused := false
	for range 2 { // The first dial fails at the address, or is refused.
		err := self.Connect(libp2pnetwork.WithDialPeerTimeout(t.Context(), deadline), gone)
		refused = refused || errors.Is(err, swarm.ErrDialBackoff)
	}
	if !refused {
		t.Fatal("libp2p does not refuse to dial a peer that could not be reached")
	}
	book.update(t.Context())
	if err := self.Connect(t.Context(), gone); !errors.Is(err, swarm.ErrDialBackoff) {
		t.Errorf("a stranger is dialled: %v", err)
	}
	// libp2p knows no protocol of a peer that is away for more than a minute.
	noError(t, os.WriteFile(path, []byte(gone.Addrs[0].String()+"/p2p/"+gone.ID.String()+"\n"), 0o600))
	book = opened(t, self, path, speakers)
	book.update(t.Context())
	if err := self.Connect(t.Context(), gone); err == nil || errors.Is(err, swarm.ErrDialBackoff) {
		t.Errorf("a peer of the cluster is not dialled: %v", err)
	}
}

// The configuration and the file name whom a start takes to be alive.
func TestExpectedPeers(t *testing.T) {
	const one, two, three = "12D3KooWGxxWn3G95xAEGAse1wQKk8XiLUCk3sLLvDuGC7toDHzm", "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA", firstID
	addr := func(id string) string { return "/ip4/127.0.0.1/tcp/9096/p2p/" + id }
	files := upstreamFiles(t, "crdt", "", with("cluster", "peer_addresses", []string{addr(two)}))
	cfg := loaded(t, files)
	self := cfg.Helper.Identity().ID.String()
	path := cfg.Helper.Configs().Cluster.GetPeerstorePath()
	for content, want := range map[string][]string{
		"":                 {two},
		addr(one) + "\r\n": {two, one},
		addr(one) + "\n/ip4/127.0.0.2/tcp/9096/p2p/" + one + "\r\n" + addr(self) + "\r\n/dnsaddr/localhost/p2p/" + three + "\n": {two, one, three},
		"# away for 1h: " + one + "\n" + addr(one) + "\n" + addr(two) + "\n":                                                    {two},
		"# away for 26h: " + two + "\n" + addr(one) + "\n" + addr(two) + "\n":                                                   {one},
	} {
		noError(t, os.WriteFile(path, []byte(content), 0o600))
		p := &Peer{cfg: cfg, addresses: opened(t, addressHost(t), path, speakers)}
		var got []string
		for _, id := range p.expectedPeers() {
			got = append(got, id.String())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", content, got, want)
		}
	}
}

// A peer saves at its stop whom it met a moment before.
func TestStop_SavesAddresses(t *testing.T) {
	node := externalNode(t, rpcOfID(t, firstID))
	secret := func(sections map[string]map[string]any) { sections["cluster"]["secret"] = strings.Repeat("42", 32) }
	files := upstreamFiles(t, "crdt", "pebble", noAPIs, node, secret)
	first, _ := newPeer(t, files)
	noError(t, first.Start(t.Context()))
	await.Closed(t, "readiness", first.Ready())
	second, _ := newPeer(t, upstreamFiles(t, "crdt", "pebble", noAPIs, node, secret), bootstrapTo(first))
	noError(t, second.Start(t.Context()))
	await.True(t, "the second one", func() bool { return slices.Contains(first.network.clusterPeers(), second.ID()) })
	noError(t, first.Stop(t.Context()))
	if got, want := read(t, filepath.Join(files.Folder(), "peerstore")), line(second.network.host); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
