package raftstate

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/boundrpc"
)

// What a peer answers and asks is bounded before it is decoded, and what is waited for is told as before.
func TestWrites_AHostilePeer(t *testing.T) {
	t.Parallel()
	hosts := make([]host.Host, 2)
	for i := range hosts {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		hosts[i] = h
	}
	a, b := hosts[0], hosts[1]
	asking, asked := newWrites(a), newWrites(b)
	if err := asked.serve(nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Connect(t.Context(), peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}); err != nil {
		t.Fatal(err)
	}
	end := asked.begin("nonce")
	if err := asking.check(t.Context(), b.ID(), "nonce"); err != nil {
		t.Errorf("a write that is waited for: %v", err)
	}
	end()
	if err := asking.check(t.Context(), b.ID(), "nonce"); !errors.Is(err, errGivenUp) {
		t.Errorf("one that is not: %v", err)
	}

	// The name of what is called is read of any peer.
	s, err := a.NewStream(t.Context(), b.ID(), Protocol)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(30 * time.Second))
	sent := 0
	for piece := []byte("\x81\xa4Name\xdb\x40\x00\x00\x00" + strings.Repeat("x", 64<<10)); err == nil; {
		var n int
		n, err = s.Write(piece)
		sent += n
	}
	if !errors.Is(err, network.ErrReset) || sent > 32<<20 {
		t.Errorf("%d bytes were taken: %v", sent, err)
	}

	b.SetStreamHandler(Protocol, func(s network.Stream) {
		_, _ = s.Write([]byte("\x80\xdb\x40\x00\x00\x00"))
		_, _ = io.Copy(io.Discard, s)
	})
	if err := asking.check(t.Context(), b.ID(), "nonce"); !errors.Is(err, boundrpc.ErrRefused) || !strings.Contains(err.Error(), b.ID().String()) {
		t.Errorf("a huge answer: %v", err)
	}
}
