package boundrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

const proto = protocol.ID("/test/1")

// Row is a result.
type Row struct {
	Key  string
	Hash uint64
}

// Echo is a service.
type Echo struct{ hold chan struct{} }

// Rows returns as many as it is asked for.
func (e *Echo) Rows(_ context.Context, n int, out *[]Row) error {
	for i := range n {
		*out = append(*out, Row{fmt.Sprint("key ", i), uint64(i) << 40})
	}
	return nil
}

// Take takes rows.
func (e *Echo) Take(_ context.Context, rows []Row, out *int) error {
	*out = len(rows)
	return nil
}

// Hold returns the length of a text when it may.
func (e *Echo) Hold(ctx context.Context, text string, out *int) error {
	select {
	case <-e.hold:
	case <-ctx.Done():
	}
	*out = len(text)
	return ctx.Err()
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hosts are two that are connected.
func hosts(t *testing.T) (a, b host.Host) {
	t.Helper()
	both := make([]host.Host, 2)
	for i := range both {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
		noError(t, err)
		t.Cleanup(func() { _ = h.Close() })
		both[i] = h
	}
	noError(t, both[0].Connect(t.Context(), peer.AddrInfo{ID: both[1].ID(), Addrs: both[1].Addrs()}))
	return both[0], both[1]
}

func fewRows() Limits { return Limits{Bytes: 1000, Field: 100, Values: 100} }

func TestClient_GetsWhatIsWithinTheLimits(t *testing.T) {
	a, b := hosts(t)
	server := NewServer(b, proto, generous())
	noError(t, server.Register(&Echo{}))
	client := NewClient(a, proto)
	limits := Limits{Bytes: 100_000, Field: 100, Values: 5*1000 + 1}
	rows, err := Call[[]Row](t.Context(), client, b.ID(), "Echo", "Rows", 1000, limits)
	noError(t, err)
	if len(rows) != 1000 || rows[999] != (Row{"key 999", 999 << 40}) {
		t.Errorf("%d rows", len(rows))
	}
	for name, less := range map[string]Limits{
		"bytes": {Bytes: 10_000, Field: 100, Values: 5*1000 + 1}, "values": {Bytes: 100_000, Field: 100, Values: 1000},
		"field": {Bytes: 100_000, Field: 6, Values: 5*1000 + 1},
	} {
		if _, err := Call[[]Row](t.Context(), client, b.ID(), "Echo", "Rows", 1000, less); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An error of the server is that, not one of the limits.
	if _, err := Call[[]Row](t.Context(), client, b.ID(), "Echo", "None", 1, limits); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "None") {
		t.Errorf("%v", err)
	}
}

func generous() Serving {
	return Serving{
		Request: Limits{Bytes: 1 << 20, Field: 1 << 20, Values: 100}, Peer: 10, All: 20, PeerBytes: 4 << 20, AllBytes: 8 << 20,
		Timeout: time.Minute,
	}
}

// endless repeats what comes after the first bytes until writing fails, and counts.
func endless(first, more string, written *atomic.Int64) network.StreamHandler {
	return func(s network.Stream) {
		n, err := s.Write([]byte(first))
		written.Add(int64(n))
		for piece := []byte(strings.Repeat(more, 64<<10/max(len(more), 1))); err == nil && len(piece) > 0; {
			n, err = s.Write(piece)
			written.Add(int64(n))
		}
		_, _ = io.Copy(io.Discard, s)
	}
}

// allocated is how much memory something takes, whether or not that is freed.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const (
	// attack is what a hostile message claims to be, or is.
	attack = "\x40\x00\x00\x00"
	// bearable is what may be allocated for it, buffers of libp2p at both ends included: a stream's window is 16 MiB.
	bearable = 60 << 20
)

// hostile are messages that never end, or that take much memory or stack to decode.
func hostile() map[string][2]string {
	return map[string][2]string{
		"endless rows":                         {"\xdd" + attack, "\x80"},
		"endless rows, as a map":               {"\xdf" + attack, "\x80"},
		"a huge key":                           {"\x91\x81" + packed("Key") + "\xdb" + attack, "x"},
		"a huge field that is not known":       {"\x91\x81" + packed("x") + "\xc6" + attack, ""},
		"a huge extension":                     {"\x91\x81" + packed("x") + "\xc9" + attack, ""},
		"a key that is an array of numbers":    {"\x91\x81" + packed("Key") + "\xdd\x04\x00\x00\x00", ""},
		"arrays in arrays":                     {"\x91\x81" + packed("x"), "\x91"},
		"many small fields that are not known": {"\x91\xdf" + attack, "\xa1x\xc0"},
		"garbage":                              {"\x91\xc1", "\xc1\x00\xff"},
	}
}

// What a hostile peer sends ends the call, with bounded memory.
func TestClient_HostileResponses(t *testing.T) {
	a, b := hosts(t)
	client := NewClient(a, proto)
	limits := Limits{Bytes: 1 << 20, Field: 4 << 10, Values: 100_000}
	cases := map[string][2]string{"an endless error": {"\x81" + packed("Error") + "\xdb" + attack, "x"}, "an endless head": {"", "\x91"}}
	for name, c := range hostile() {
		cases[name] = [2]string{"\x80" + c[0], c[1]}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var written atomic.Int64
			b.SetStreamHandler(proto, endless(c[0], c[1], &written))
			var err error
			took := allocated(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_, err = Call[[]Row](ctx, client, b.ID(), "Echo", "Rows", 1, limits)
			})
			if !errors.Is(err, ErrRefused) {
				t.Errorf("got %v", err)
			}
			if took > bearable || written.Load() > bearable {
				t.Errorf("%d MiB were allocated, %d MiB were sent", took>>20, written.Load()>>20)
			}
		})
	}
}

// A peer that sends nothing is waited for until the call's time is over.
func TestClient_NoResponse(t *testing.T) {
	a, b := hosts(t)
	ended := make(chan struct{})
	b.SetStreamHandler(proto, func(s network.Stream) {
		_, _ = io.Copy(io.Discard, s)
		close(ended)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Call[[]Row](ctx, NewClient(a, proto), b.ID(), "Echo", "Rows", 1, fewRows()); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	await.Closed(t, "end of the stream", ended)
}

// open opens a stream and sends something.
func open(t *testing.T, from host.Host, to peer.ID, data string) network.Stream {
	t.Helper()
	s, err := from.NewStream(t.Context(), to, proto)
	noError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	_, err = s.Write([]byte(data))
	noError(t, err)
	return s
}

// ends waits for the end of a stream, whatever comes before that.
func ends(t *testing.T, s network.Stream) []byte {
	t.Helper()
	noError(t, s.SetReadDeadline(time.Now().Add(30*time.Second)))
	all, err := io.ReadAll(s)
	if err != nil && !errors.Is(err, network.ErrReset) {
		t.Errorf("the stream does not end: %v", err)
	}
	return all
}

// What a hostile peer asks for ends its stream, before it is known whether it may, with bounded memory.
func TestServer_HostileRequests(t *testing.T) {
	a, b := hosts(t)
	limits := generous()
	limits.Request = Limits{Bytes: 1 << 20, Field: 4 << 10, Values: 100_000}
	server := NewServer(b, proto, limits, rpc.WithAuthorizeFunc(func(peer.ID, string, string) bool { return true }))
	noError(t, server.Register(&Echo{}))
	cases := map[string][2]string{
		"a huge name":              {"\x81" + packed("Name") + "\xdb" + attack, "x"},
		"a huge field of a name":   {"\x81" + packed("x") + "\xc6" + attack, ""},
		"a name that never ends":   {"", "\x91"},
		"garbage":                  {"\xc1", "\x00"},
		"arguments without an end": {packedName("Echo", "Take") + "\xdd" + attack, "\x80"},
	}
	for name, c := range hostile() {
		cases[name] = [2]string{packedName("Echo", "Take") + c[0], c[1]}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			took := allocated(func() {
				s, err := a.NewStream(t.Context(), b.ID(), proto)
				noError(t, err)
				var written atomic.Int64
				sent := make(chan struct{})
				go func() {
					endless(c[0], c[1], &written)(s)
					close(sent)
				}()
				await.Closed(t, "end of the stream", sent)
				if written.Load() > bearable {
					t.Errorf("%d MiB were sent", written.Load()>>20)
				}
			})
			if took > bearable {
				t.Errorf("%d MiB were allocated", took>>20)
			}
		})
	}
	if rows, err := Call[[]Row](t.Context(), NewClient(a, proto), b.ID(), "Echo", "Rows", 1, fewRows()); err != nil || len(rows) != 1 {
		t.Errorf("after all that: %v, %v", rows, err)
	}
}

// serve serves a protocol with another time for requests.
func serve(t *testing.T, b host.Host, s Serving, requestTime time.Duration, echo *Echo) *servingHost {
	t.Helper()
	h := newServingHost(b, s, requestTime)
	noError(t, rpc.NewServer(h, proto).Register(echo))
	return h
}

func (h *servingHost) used(by peer.ID) usage {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u := h.peers[by]; u != nil {
		return *u
	}
	return usage{}
}

// Requests of one peer that are answered at once are bounded in number and in bytes, and leave nothing behind.
func TestServer_BoundsWhatIsHeld(t *testing.T) {
	a, b := hosts(t)
	s := generous()
	s.Peer, s.PeerBytes, s.Timeout = 3, 100_000, time.Hour
	echo := &Echo{hold: make(chan struct{})}
	h := serve(t, b, s, time.Hour, echo)
	used := func() usage { return h.used(a.ID()) }
	hold := packedName("Echo", "Hold") + packed(strings.Repeat("x", 40_000))
	for n := range 2 {
		open(t, a, b.ID(), hold)
		await.True(t, "the request", func() bool { return used().bytes >= (n+1)*40_000 })
	}
	// The third one is beyond the bytes, the fourth beyond the number.
	ends(t, open(t, a, b.ID(), hold))
	await.True(t, "two requests", func() bool { return used().requests == 2 })
	third := open(t, a, b.ID(), "\x82")
	await.True(t, "three requests", func() bool { return used().requests == 3 })
	ends(t, open(t, a, b.ID(), "\x82"))
	close(echo.hold)
	_ = third.Reset()
	await.True(t, "the end of all", func() bool { return used() == usage{} })
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.peers) > 0 || *h.all[true] != (usage{}) {
		t.Errorf("left: %v, %v", h.peers, h.all[true])
	}
}

// A request that does not come, and a response that does not, end.
func TestServer_BoundsTheTime(t *testing.T) {
	a, b := hosts(t)
	s := generous()
	s.Timeout = time.Hour
	serve(t, b, s, 20*time.Millisecond, &Echo{})
	ends(t, open(t, a, b.ID(), "\x82"))
	s.Timeout = 20 * time.Millisecond
	serve(t, b, s, time.Hour, &Echo{})
	ends(t, open(t, a, b.ID(), packedName("Echo", "Hold")+packed("x")))
}

// Peers that are not trusted cannot take what the others have.
func TestServer_CountsTrustedPeersByThemselves(t *testing.T) {
	a, b := hosts(t)
	trusted := new(atomic.Bool)
	s := generous()
	s.All, s.Trusted = 1, func(peer.ID) bool { return trusted.Load() }
	server := NewServer(b, proto, s)
	noError(t, server.Register(&Echo{}))
	first := open(t, a, b.ID(), "\x82")
	if got := ends(t, open(t, a, b.ID(), packedName("Echo", "Rows")+"\x01")); len(got) > 0 {
		t.Errorf("answered: %q", got)
	}
	trusted.Store(true)
	if got := ends(t, open(t, a, b.ID(), packedName("Echo", "Rows")+"\x01")); !bytes.Contains(got, []byte("key 0")) {
		t.Errorf("answered %q", got)
	}
	_ = first.Reset()
}
