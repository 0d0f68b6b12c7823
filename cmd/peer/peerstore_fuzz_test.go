package peer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
)

// FuzzParsePeerstore reads any file peerstore: what an operator or upstream wrote in it stays, and the file
// that is written for it is read as the same.
func FuzzParsePeerstore(f *testing.F) {
	const one, two = "12D3KooWPXMfQcWPpBEgPpGYAYedH41CT4p6MiCUDNHBR94B6ua1", "12D3KooWHMvRvn2SFP9PBfpmixHFFNc1RBwvo7ovpFzVrHMKvavi"
	self, err := libp2ppeer.Decode(one)
	if err != nil {
		f.Fatal(err)
	}
	for _, content := range []string{
		"",
		"/ip4/127.0.0.1/tcp/9096/p2p/" + two + "\n/ip6/::1/tcp/9096/p2p/" + two + "\n",
		"# away for 3h: " + two + "\n/dns4/peer.example/tcp/9096/p2p/" + two + "\n/dnsaddr/example.com/p2p/" + two,
		"/ip4/127.0.0.1/tcp/9096/p2p/" + one + "\r\n# a comment\r\n\n/p2p/" + two + "\n/ip4/1.2.3\n",
	} {
		f.Add([]byte(content))
	}
	const mark = time.Hour
	f.Fuzz(func(t *testing.T, content []byte) {
		file := parsePeerstore(content, self)
		if slices.Contains(file.peers(), self) {
			t.Error("the peer is in its own book")
		}
		_ = file.addresses()
		written := file.content(mark)
		for _, e := range file.entries {
			if e.fixed && !slices.Contains(strings.Split(string(written), "\n"), e.line) {
				t.Errorf("the line %q is lost", e.line)
			}
		}
		again := parsePeerstore(written, self)
		if !slices.Equal(again.peers(), file.peers()) {
			t.Errorf("peers %v, want %v", again.peers(), file.peers())
		}
		if rewritten := again.content(mark); !bytes.Equal(rewritten, written) {
			t.Errorf("written again it is %q, not %q", rewritten, written)
		}
	})
}
