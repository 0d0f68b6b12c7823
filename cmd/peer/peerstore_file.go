package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// awayFormat is the line in front of the addresses of a peer that is away for long. Upstream skips it, as
// all lines that do not begin with "/".
const awayFormat = "# away for %dh: %s"

// peerstoreFile is the content of the file peerstore. Its format is upstream's: an address a line, with the
// ID of its peer at the end.
type peerstoreFile struct {
	entries []*peerstoreEntry
	// away is how long peers were away when they were last seen to be.
	away map[libp2ppeer.ID]time.Duration
}

// peerstoreEntry is a peer with its addresses, or a line that stays as it is: an address that DNS
// resolves to others, or what is none of another peer, such as a comment.
type peerstoreEntry struct {
	peer  libp2ppeer.ID // Whom the entry names, "" for nobody.
	addrs []ma.Multiaddr

	fixed bool
	line  string
	addr  ma.Multiaddr // The line, if it is an address.
}

// readPeerstore returns the content of the file; one that does not exist is empty. Upstream takes one that it
// cannot open for that too (U108 in docs/upstream-faults.md).
func readPeerstore(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of the cluster's peers: %w", err)
	}
	return content, nil
}

// parsePeerstore takes any content: what it cannot use is kept for whoever wrote it.
func parsePeerstore(content []byte, self libp2ppeer.ID) peerstoreFile {
	f := peerstoreFile{away: make(map[libp2ppeer.ID]time.Duration)}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		if id, away, ok := parseAway(line); ok {
			f.away[id] = away
			continue
		}
		addr, info := parsePeerstoreLine(strings.TrimSuffix(line, "\r")) // As upstream's scanner.
		switch {
		case info.ID == "" || info.ID == self:
			f.entries = append(f.entries, &peerstoreEntry{fixed: true, line: line, addr: addr})
		case addr.Protocols()[0].Code == ma.P_DNSADDR || len(info.Addrs) == 0:
			f.entries = append(f.entries, &peerstoreEntry{peer: info.ID, fixed: true, line: line, addr: addr})
		default:
			e := f.find(info.ID)
			if e == nil {
				e = &peerstoreEntry{peer: info.ID}
				f.entries = append(f.entries, e)
			}
			e.addrs = append(e.addrs, info.Addrs...)
		}
	}
	return f
}

// parsePeerstoreLine returns nothing for a line that is no address, and no ID for one that names nobody.
func parsePeerstoreLine(line string) (ma.Multiaddr, libp2ppeer.AddrInfo) {
	if !strings.HasPrefix(line, "/") {
		return nil, libp2ppeer.AddrInfo{}
	}
	addr, err := ma.NewMultiaddr(line)
	if err != nil {
		return nil, libp2ppeer.AddrInfo{}
	}
	info, err := libp2ppeer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return addr, libp2ppeer.AddrInfo{}
	}
	return addr, *info
}

func parseAway(line string) (libp2ppeer.ID, time.Duration, bool) {
	var hours uint16
	var text string
	if _, err := fmt.Sscanf(line, awayFormat, &hours, &text); err != nil || fmt.Sprintf(awayFormat, hours, text) != line {
		return "", 0, false
	}
	id, err := libp2ppeer.Decode(text)
	return id, time.Duration(hours) * time.Hour, err == nil
}

// find returns the entry with the addresses of a peer, or nil.
func (f *peerstoreFile) find(id libp2ppeer.ID) *peerstoreEntry {
	for _, e := range f.entries {
		if !e.fixed && e.peer == id {
			return e
		}
	}
	return nil
}

// peers are those that the file names, in its order.
func (f *peerstoreFile) peers() []libp2ppeer.ID {
	var ids []libp2ppeer.ID
	for _, e := range f.entries {
		if e.peer != "" && !slices.Contains(ids, e.peer) {
			ids = append(ids, e.peer)
		}
	}
	return ids
}

// addresses are those that upstream can import, in the order of the file.
func (f *peerstoreFile) addresses() []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, e := range f.entries {
		if e.addr != nil {
			addrs = append(addrs, e.addr)
		}
		if e.fixed {
			continue
		}
		if of, err := libp2ppeer.AddrInfoToP2pAddrs(&libp2ppeer.AddrInfo{ID: e.peer, Addrs: e.addrs}); err == nil {
			addrs = append(addrs, of...)
		}
	}
	return addrs
}

// forget removes peers, and returns them.
func (f *peerstoreFile) forget(such func(libp2ppeer.ID) bool) []libp2ppeer.ID {
	gone := slices.DeleteFunc(f.peers(), func(id libp2ppeer.ID) bool { return !such(id) })
	f.entries = slices.DeleteFunc(f.entries, func(e *peerstoreEntry) bool { return slices.Contains(gone, e.peer) })
	for _, id := range gone {
		delete(f.away, id)
	}
	return gone
}

// content is the file, in which peers are marked that are away for at least that long.
func (f *peerstoreFile) content(mark time.Duration) []byte {
	var content bytes.Buffer
	marked := make(map[libp2ppeer.ID]bool)
	for _, e := range f.entries {
		if !e.fixed && len(e.addrs) == 0 {
			continue
		}
		if away := f.away[e.peer]; e.peer != "" && away >= mark && !marked[e.peer] {
			marked[e.peer] = true
			fmt.Fprintf(&content, awayFormat+"\n", int(away.Hours()), e.peer)
		}
		if e.fixed {
			fmt.Fprintln(&content, e.line)
		}
		for _, addr := range e.addrs {
			fmt.Fprintf(&content, "%s/p2p/%s\n", addr, e.peer)
		}
	}
	return content.Bytes()
}
