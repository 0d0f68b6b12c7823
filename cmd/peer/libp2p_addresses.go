package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/pstoremgr"
	"github.com/libp2p/go-libp2p/core/host"
	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/atomicfile"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

const (
	// addressInterval is how long a new address takes to be in the file at most.
	addressInterval = 2 * time.Second
	// failedSaves is how many intervals pass before a file is written again that could not be.
	failedSaves = 30

	// goneAfter is how long a peer is away before a start does not take it to be alive any more, and
	// forgottenAfter before the book has it no more. Both are counted in intervals of this process, so that
	// a clock that was set, and a process that was frozen or not running, count nothing.
	goneAfter      = time.Hour
	forgottenAfter = 90 * 24 * time.Hour
)

// addressBook keeps the addresses of the cluster's peers in the file peerstore, for the next start, and
// lets the peers be dialled at any time. Upstream writes the file at an orderly stop only, forgets the
// addresses of a peer that is away for an hour, and truncates the file first (U108 in
// docs/upstream-faults.md). After a failed dial libp2p refuses another one for longer each time, up to
// 5 minutes, so that after a cut link has healed the cluster stayed cut for as long. The book is used
// by one goroutine.
type addressBook struct {
	peerstoreFile
	host    host.Host
	path    string
	manager *pstoremgr.Manager
	members membership

	latest  []byte // What the file had at the last look.
	seen    []byte // What it had when it was last taken over or written.
	written []byte // What this book said then.

	told  string // Why the file could not be written last.
	pause int    // How many looks do not write it.
}

// membership is what the consensus knows of who is in the cluster.
type membership struct {
	// closed says that nobody else is: Raft has a list of members. With CRDT the peers are those that live.
	closed bool
	// peers are nil while they are not known.
	peers func(context.Context) []libp2ppeer.ID
}

// membership is that of the peer's consensus.
func (p *Peer) membership() membership {
	return membership{closed: p.consensus.kind == ConsensusRaft, peers: func(ctx context.Context) []libp2ppeer.ID {
		select {
		case <-p.consensus.ready.opened:
		default:
			return nil
		}
		ids, err := p.consensus.Peers(ctx)
		if err != nil || !slices.Contains(ids, p.ID()) {
			return nil // A peer that was removed hears of no changes.
		}
		return ids
	}}
}

// openAddressBook reads the file and tells the host what it says. A device, such as /dev/null, keeps nothing.
func openAddressBook(ctx context.Context, h host.Host, path string, members membership) (*addressBook, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeDevice != 0 {
		path = ""
	}
	b := &addressBook{host: h, path: path, manager: pstoremgr.New(ctx, h, path), members: members}
	_, err := b.read()
	return b, err
}

// withoutPeerstore is the configuration of a cluster that leaves the file alone.
func withoutPeerstore(cfg *ipfscluster.Config) *ipfscluster.Config {
	own := *cfg
	own.BaseDir = "" // The path of the file is all that is made of it.
	return &own
}

// keepAddresses keeps the address book from now on, until the requests have drained.
func (p *Peer) keepAddresses() {
	ctx, cancel := context.WithCancel(p.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.addresses.keep(ctx)
	}()
	p.teardown.push("address book", closeLimit, func(context.Context) error {
		cancel()
		<-ended
		return nil
	})
}

// expectedPeers are the other peers that the configuration and the file name, and that may live though
// nobody has heard of them yet. It must not be called any more once the book is kept.
func (p *Peer) expectedPeers() []libp2ppeer.ID {
	book := p.addresses
	ids := append(book.peers(), ipfscluster.PeersFromMultiaddrs(p.cfg.Helper.Configs().Cluster.PeerAddresses)...)
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id libp2ppeer.ID) bool {
		return id == p.cfg.Helper.Identity().ID || book.away[id] >= goneAfter
	})
}

// keep writes what changes until the context ends, and what has changed then.
func (b *addressBook) keep(ctx context.Context) {
	for backoff.Sleep(ctx, addressInterval) {
		b.look(ctx)
	}
	b.pause = 0
	b.look(context.WithoutCancel(ctx))
}

// look updates the book and the file. A cause why the file cannot be written is told once.
func (b *addressBook) look(ctx context.Context) {
	settled, err := b.read()
	b.update(ctx)
	if b.pause--; settled && b.pause <= 0 {
		if err = b.save(); err != nil {
			b.pause = failedSaves
		} else {
			b.told = ""
		}
	}
	if err != nil && cause(err).Error() != b.told {
		b.told = cause(err).Error()
		logger.Warnf("the addresses of the cluster's peers are not saved: %s", err)
	}
}

// cause is the innermost error, without the name of a temporary file.
func cause(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

// read takes over what somebody else has written to the file, once it is the same at two looks: an editor may be
// writing it. One that has just changed or cannot be read is not settled, and not written either, so that nothing of it
// is lost.
func (b *addressBook) read() (settled bool, err error) {
	content, err := readPeerstore(b.path)
	if err != nil {
		return false, err
	}
	settled = b.away == nil || bytes.Equal(content, b.latest)
	b.latest = content
	if !settled || b.away != nil && bytes.Equal(content, b.seen) {
		return settled, nil
	}
	before := b.peerstoreFile
	b.peerstoreFile = parsePeerstore(content, b.host.ID())
	for id, away := range before.away {
		b.away[id] = away // The file has the hours only.
	}
	for _, was := range before.entries {
		b.unlearn(was)
	}
	for _, e := range b.entries {
		if e.fixed && strings.HasPrefix(e.line, "/") && e.addr == nil {
			logger.Warnf("%s: no address: %.100q", b.path, e.line)
		}
	}
	_ = b.manager.ImportPeers(b.addresses(), false, peerstore.AddressTTL) // It has no error to return.
	for _, e := range b.entries {
		b.refresh(e)
	}
	b.seen, b.written = content, b.content(goneAfter)
	return true, nil
}

// unlearn takes from the host what the file does not say any more of a peer that is away.
func (b *addressBook) unlearn(was *peerstoreEntry) {
	if was.fixed || b.connected(was.peer) {
		return
	}
	gone := was.addrs
	if now := b.find(was.peer); now != nil {
		gone = slices.DeleteFunc(slices.Clone(gone), func(addr ma.Multiaddr) bool { return ma.Contains(now.addrs, addr) })
	}
	b.host.Peerstore().SetAddrs(was.peer, gone, 0)
}

// update takes over the addresses of the peers that are connected, and keeps those of the others
// known to the host, so that they can be dialled whenever they come back.
func (b *addressBook) update(ctx context.Context) {
	members := b.members.peers(ctx)
	listed := b.members.closed && members != nil
	for _, id := range b.host.Peerstore().PeersWithAddrs() {
		if id == b.host.ID() || b.find(id) != nil {
			continue
		}
		if listed && slices.Contains(members, id) || !listed && spokeRPC(b.host, id) {
			b.entries = append(b.entries, &peerstoreEntry{peer: id})
		}
	}
	switch {
	case listed:
		b.drop("no member of the cluster any more", func(id libp2ppeer.ID) bool { return !slices.Contains(members, id) })
	case !b.members.closed:
		b.countAway(members)
	}
	for _, e := range b.entries {
		if !e.fixed {
			b.keepKnown(e)
		}
	}
}

// countAway counts how long the peers of a CRDT are away. Nobody is forgotten while all are away, since
// it may be this peer that is.
func (b *addressBook) countAway(living []libp2ppeer.ID) {
	here := func(id libp2ppeer.ID) bool { return b.connected(id) || slices.Contains(living, id) }
	peers := b.peers()
	alone := !slices.ContainsFunc(peers, here)
	for _, id := range peers {
		away := b.away[id] + addressInterval
		if here(id) {
			delete(b.away, id)
		} else if away <= goneAfter || !alone {
			b.away[id] = away
			if away == goneAfter {
				logger.Infof("peer %s has been away for %s: a start does not wait for it any more", id, goneAfter)
			}
		}
	}
	b.drop(fmt.Sprintf("away for %d days", int(forgottenAfter.Hours()/24)), func(id libp2ppeer.ID) bool {
		return b.away[id] >= forgottenAfter
	})
}

func (b *addressBook) drop(why string, such func(libp2ppeer.ID) bool) {
	for _, id := range b.forget(such) {
		logger.Infof("peer %s is %s: its addresses are forgotten", id, why)
	}
}

// keepKnown keeps the addresses of a peer known to the host.
func (b *addressBook) keepKnown(e *peerstoreEntry) {
	lasting := e.addrs
	if b.connected(e.peer) {
		// What a name resolves to may change, the name does not.
		lasting = slices.DeleteFunc(slices.Clone(lasting), func(addr ma.Multiaddr) bool { return !madns.Matches(addr) })
	} else if dialler, ok := b.host.Network().(*swarm.Swarm); ok {
		dialler.Backoff().Clear(e.peer) // Nobody is dialled here: whoever has something to send does that.
	}
	b.host.Peerstore().AddAddrs(e.peer, lasting, peerstore.AddressTTL)
	b.refresh(e)
}

// refresh notes the addresses that the host knows of a peer, in the order of upstream, which leaves names in none. The
// host forgets them by its clock, the book does not.
func (b *addressBook) refresh(e *peerstoreEntry) {
	if e.fixed {
		return
	}
	for _, info := range b.manager.PeerInfos([]libp2ppeer.ID{e.peer}) {
		slices.SortFunc(info.Addrs, func(x, y ma.Multiaddr) int { return strings.Compare(x.String(), y.String()) })
		e.addrs = info.Addrs
	}
}

func (b *addressBook) connected(id libp2ppeer.ID) bool {
	return b.host.Network().Connectedness(id) == libp2pnetwork.Connected
}

// save writes the file if it has changed.
func (b *addressBook) save() error {
	content := b.content(goneAfter)
	if b.path == "" || bytes.Equal(content, b.written) {
		return nil
	}
	err := atomicfile.WriteFile(b.path, content, privateMode)
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%w (a file that is mounted by itself cannot be replaced: mount its folder instead)", err)
	}
	if err != nil {
		return err
	}
	b.latest, b.seen, b.written = content, content, content
	return nil
}
