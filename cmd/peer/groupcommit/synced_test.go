package groupcommit

import (
	"errors"
	"strings"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A write is answered when its commit is synced: what comes after that, which is to tell others of
// it, is not waited for. The next commit begins after it all the same.
func TestCommitter_AnswersWhenTheCommitIsSynced(t *testing.T) {
	f := newFake()
	telling, told := make(chan struct{}, 10), make(chan struct{})
	f.tell = func() {
		telling <- struct{}{}
		<-told
	}
	c := start(t, f, func(cfg *Config) { cfg.Watch = watchFake })
	if err := c.Pin(t.Context(), pinOf(0, "one")); err != nil {
		t.Fatal(err)
	}
	<-telling
	if got := f.name(keyOf(0)); got != "one" {
		t.Errorf("the state has %q when the write is answered", got)
	}
	second := begin(t, c, 1, func() error { return c.Unpin(t.Context(), keyOf(0)) })
	select {
	case <-telling:
		t.Error("the next commit began before the first had ended")
	case err := <-second:
		t.Errorf("the next write was answered: %v", err)
	default:
	}
	close(told)
	if err := <-second; err != nil || f.name(keyOf(0)) != "" {
		t.Errorf("%v, the state has %q", err, f.name(keyOf(0)))
	}
}

// A commit that fails after its sync is made again before anything else, but its write is made: what
// it added is not added again, because others may have seen and deleted it.
func TestCommitter_AFailureAfterTheSyncIsNotAnswered(t *testing.T) {
	f := newFake()
	failures := 1
	f.next = func() fault {
		if failures--; failures >= 0 {
			return faultTold
		}
		return faultNone
	}
	told := make(chan struct{}, 10)
	f.tell = func() { told <- struct{}{} }
	c := start(t, f, func(cfg *Config) { cfg.Watch = watchFake })
	if err := c.Pin(t.Context(), pinOf(0, "one")); err != nil {
		t.Fatal(err)
	}
	<-told
	f.set(func() { f.put(keyOf(0).String(), nil) }) // By another peer.
	<-told                                          // It is told again.
	for {
		err := c.Pin(t.Context(), pinOf(1, "two"))
		if err == nil {
			break
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if err := c.Pin(t.Context(), pinOf(2, "three")); err != nil { // The commit of the second one has ended.
		t.Fatal(err)
	}
	f.set(func() {
		if len(f.commits) < 2 || f.values[keyOf(0).String()].Name != "" {
			t.Errorf("commits %v, the state has %v", f.commits, f.values)
		}
	})
}

// What a record takes is not measured by encoding it, and must not be taken for much less, or the
// state commits by itself. A record that cannot be encoded never comes into a commit.
func TestRecordBytes_IsMostlyMoreThanTheRecord(t *testing.T) {
	long := strings.Repeat("x", 255)
	meta := map[string]string{"album": "new", "empty": "", long: long}
	for _, text := range []string{
		"/ip4/203.0.113.1/tcp/4001/p2p/12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi",
		"/dns4/" + long + "/tcp/443/tls/ws/p2p/QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n/p2p-circuit/p2p/12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi",
		"/ip6/2001:db8::1/udp/4001/quic-v1/webtransport/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ/p2p/12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi",
	} {
		origin, err := api.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		pin := api.PinWithOpts(keyOf(0), api.PinOptions{Name: long, Metadata: meta, Origins: []api.Multiaddr{origin, origin}})
		for range 10 {
			pin.Allocations = append(pin.Allocations, peer.ID(strings.Repeat("x", 42)))
		}
		record, err := pin.ProtoMarshal()
		if err != nil {
			t.Fatal(err)
		}
		if n := recordBytes(pin); n < len(record) || n > 2*len(record) {
			t.Errorf("%s: taken for %d bytes, it has %d", text, n, len(record))
		}
	}
	f := newFake()
	c := start(t, f)
	for _, pin := range []api.Pin{pinOf(0, "\xff"), api.PinWithOpts(keyOf(0), api.PinOptions{Metadata: map[string]string{"a": "\xff"}})} {
		if err := c.Pin(t.Context(), pin); err == nil || f.name(keyOf(0)) != "" {
			t.Errorf("a record that is no text: %v", err)
		}
	}
}
