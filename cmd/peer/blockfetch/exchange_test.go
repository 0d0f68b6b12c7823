package blockfetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-datastore"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// chain is a branch of blocks, oldest first, each the child of the next.
type chain struct {
	ids  []string
	data [][]byte
}

func newChain(t *testing.T, length, size int) chain {
	t.Helper()
	var c chain
	var below ipld.Node
	for n := range length {
		node := merkledag.NodeWithData(append([]byte(fmt.Sprint(n)), make([]byte, size)...))
		noError(t, node.SetCidBuilder(merkledag.V1CidPrefix()))
		if below != nil {
			noError(t, node.AddRawLink("", &ipld.Link{Cid: below.Cid()}))
		}
		c.ids = append(c.ids, dshelp.MultihashToDsKey(node.Cid().Hash()).String()[1:])
		c.data = append(c.data, node.RawData())
		below = node
	}
	return c
}

// shelf has the last blocks of a chain.
type shelf struct {
	chain
	mu       sync.Mutex
	from     int // the first that is there
	requests int
	ctx      context.Context // when set, a request waits until it has ended
	entered  chan struct{}   // when set, has a value while a request waits
	lies     bool            // another block than asked for is handed out
}

func (s *shelf) Branch(_ context.Context, id string, yield func([]byte) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.ctx != nil {
		select {
		case s.entered <- struct{}{}:
		default:
		}
		<-s.ctx.Done()
	}
	for n := len(s.ids) - 1; n >= s.from; n-- {
		if s.lies {
			yield([]byte("something else"))
			return nil
		}
		if s.ids[n] != id {
			continue
		}
		for ; n >= s.from && yield(s.data[n]); n-- {
		}
		return nil
	}
	return datastore.ErrNotFound
}

func (s *shelf) HasBlock(_ context.Context, id string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, own := range s.ids[s.from:] {
		if own == id {
			return true, nil
		}
	}
	return false, nil
}

func (s *shelf) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

type member struct {
	*Exchange
	host host.Host
}

func startHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ResourceManager(nil))
	noError(t, err)
	t.Cleanup(func() { noError(t, h.Close()) })
	return h
}

func everybody(context.Context, peer.ID) bool { return true }

func startMember(t *testing.T, blocks Blocks, trusted func(context.Context, peer.ID) bool, join ...*member) *member {
	t.Helper()
	h := startHost(t)
	m := &member{New(Config{Host: h, Blocks: blocks, Trusted: trusted}), h}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), await.Limit)
		defer cancel()
		noError(t, m.Close(ctx))
	})
	for _, other := range join {
		noError(t, h.Connect(t.Context(), peer.AddrInfo{ID: other.host.ID(), Addrs: other.host.Addrs()}))
		await.True(t, "what the other peer speaks", func() bool {
			spoken, err := h.Peerstore().SupportsProtocols(other.host.ID(), Protocol)
			noError(t, err)
			return len(spoken) > 0
		})
	}
	return m
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// empty has no blocks.
func empty() *shelf { return &shelf{} }

// A walk of 1,000 blocks, one after the other, makes few requests.
func TestExchange_GetsABranchInFewRequests(t *testing.T) {
	source := &shelf{chain: newChain(t, 1000, 200)}
	m := startMember(t, empty(), everybody, startMember(t, source, everybody))
	for n := len(source.ids) - 1; n >= 0; n-- {
		data, ok := m.Get(t.Context(), source.ids[n])
		if !ok || string(data) != string(source.data[n]) {
			t.Fatalf("block %d: %t, %q", n, ok, data)
		}
	}
	if n := source.asked(); n > 8 { // 8, 32, 128, and 256 each.
		t.Errorf("%d requests", n)
	}
	if m.ahead.bytes != 0 || len(m.ahead.blocks) != 0 {
		t.Errorf("%d bytes of %d blocks are left", m.ahead.bytes, len(m.ahead.blocks))
	}
}

// What this peer has is not kept a second time, and a new head is asked for with few blocks.
func TestExchange_KeepsWhatIsMissing(t *testing.T) {
	all := newChain(t, 100, 200)
	own := &shelf{chain: chain{all.ids[:98], all.data[:98]}}
	m := startMember(t, own, everybody, startMember(t, &shelf{chain: all}, everybody))
	if _, ok := m.Get(t.Context(), all.ids[99]); !ok {
		t.Fatal("nobody has the head")
	}
	if _, ok := m.ahead.blocks[all.ids[98]]; len(m.ahead.blocks) != 1 || !ok {
		t.Errorf("%d blocks are kept", len(m.ahead.blocks))
	}
}

// Another peer than that of the last block has it.
func TestExchange_AsksTheOthers(t *testing.T) {
	all := newChain(t, 50, 10)
	has, late := &shelf{chain: all}, &shelf{chain: all}
	m := startMember(t, empty(), everybody, startMember(t, has, everybody), startMember(t, late, everybody))
	for n := len(all.ids) - 1; n >= 0; n -= 10 { // Each alone.
		has.mu.Lock()
		has.from = len(all.ids) * (n / 10 % 2)
		has.mu.Unlock()
		late.mu.Lock()
		late.from = len(all.ids) * (1 - n/10%2)
		late.mu.Unlock()
		if _, ok := m.Get(t.Context(), all.ids[n]); !ok {
			t.Errorf("nobody has block %d", n)
		}
		m.ahead = newAhead()
	}
	if _, ok := m.Get(t.Context(), newChain(t, 1, 11).ids[0]); ok {
		t.Error("somebody has a block of nobody")
	}
}

// Peers without trust are neither asked nor answered.
func TestExchange_Trust(t *testing.T) {
	nobody := func(context.Context, peer.ID) bool { return false }
	source := &shelf{chain: newChain(t, 2, 10)}
	if _, ok := startMember(t, empty(), nobody, startMember(t, source, everybody)).Get(t.Context(), source.ids[1]); ok || source.asked() > 0 {
		t.Errorf("a peer without trust was asked %d times", source.asked())
	}
	if _, ok := startMember(t, empty(), everybody, startMember(t, source, nobody)).Get(t.Context(), source.ids[1]); ok || source.asked() > 0 {
		t.Errorf("a peer without trust was answered %d times", source.asked())
	}
}

// A block that is not the one asked for is refused, and its sender left alone for a while.
func TestExchange_WrongBlocksAreRefused(t *testing.T) {
	source := &shelf{chain: newChain(t, 3, 10), lies: true}
	m := startMember(t, empty(), everybody, startMember(t, source, everybody))
	for range 3 {
		if data, ok := m.Get(t.Context(), source.ids[2]); ok {
			t.Errorf("it took %q", data)
		}
	}
	if n := source.asked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A frozen peer holds a walk up once, and not long. One that freezes again soon does not hold it up again.
func TestExchange_AFrozenPeer(t *testing.T) {
	ctx, thaw := context.WithCancel(context.Background())
	source := &shelf{chain: newChain(t, 3, 10), ctx: ctx}
	frozen := startMember(t, source, everybody)
	m := startMember(t, empty(), everybody, frozen)
	defer thaw()
	taking := func(least, most time.Duration) {
		t.Helper()
		began := time.Now()
		for range 10 {
			if _, ok := m.Get(t.Context(), source.ids[2]); ok {
				t.Error("a frozen peer has responded")
			}
		}
		if took := time.Since(began); took < least || took > most {
			t.Errorf("it took %s", took)
		}
	}
	taking(patience, patience+3*firstWait)
	m.responded(frozen.host.ID())
	taking(0, 2*firstWait) // It may refuse what comes beside the requests that it still has.
}

// What a peer has that does not respond is got from another one that has it soon, or from that peer when it responds
// again, be there others or not. Bitswap would ask them again after a minute (U123).
func TestExchange_AsksAgainWhileAPeerFails(t *testing.T) {
	for _, by := range []string{"another peer", "that peer", "that peer alone"} {
		t.Run(by, func(t *testing.T) {
			all := newChain(t, 3, 10)
			ctx, thaw := context.WithCancel(context.Background())
			defer thaw()
			frozen := &shelf{chain: all, ctx: ctx, entered: make(chan struct{}, 1)}
			late := &shelf{chain: all, from: len(all.ids)}
			others := []*member{startMember(t, frozen, everybody)}
			if by != "that peer alone" {
				others = append(others, startMember(t, late, everybody))
			}
			m := startMember(t, empty(), everybody, others...)
			got := make(chan bool, 1)
			go func() {
				_, ok := m.Get(t.Context(), all.ids[2])
				got <- ok
			}()
			await.Closed(t, "a request", frozen.entered)
			await.True(t, "its failure", func() bool {
				m.mu.Lock()
				defer m.mu.Unlock()
				return len(m.failures) == 1
			})
			if by == "another peer" {
				late.mu.Lock()
				late.from = 0
				late.mu.Unlock()
			} else {
				thaw()
			}
			if !<-got {
				t.Error("it was given up")
			}
		})
	}
}

// Bitswap gets at once what may be at a peer that does not speak the protocol.
func TestExchange_WaitsForNobodyBesideOthers(t *testing.T) {
	ctx, thaw := context.WithCancel(context.Background())
	frozen, lacks := &shelf{chain: newChain(t, 3, 10), ctx: ctx}, empty()
	other := startHost(t)
	m := startMember(t, empty(), everybody, startMember(t, frozen, everybody), startMember(t, lacks, everybody))
	defer thaw()
	noError(t, m.host.Connect(t.Context(), peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}))
	if _, ok := m.Get(t.Context(), frozen.ids[2]); ok {
		t.Error("a frozen peer has responded")
	}
	if n := lacks.asked(); n != 1 {
		t.Errorf("the other peer was asked %d times", n)
	}
}

// The datastore is closed after the Exchange, and pebble ends the process when it is read after that.
func TestExchange_CloseWaitsForWhatIsAnswered(t *testing.T) {
	disk, goOn := context.WithCancel(context.Background())
	source := &shelf{chain: newChain(t, 3, 10), ctx: disk, entered: make(chan struct{}, 1)}
	answering := startMember(t, source, everybody)
	m := startMember(t, empty(), everybody, answering)
	defer goOn()
	var asking sync.WaitGroup
	asking.Go(func() { m.Get(context.Background(), source.ids[2]) })
	await.Closed(t, "a request", source.entered)
	closed := make(chan error, 1)
	go func() { closed <- answering.Close(context.Background()) }()
	select {
	case err := <-closed:
		t.Errorf("closed while a block is read: %v", err)
		closed <- err
	case <-time.After(100 * time.Millisecond): // It is not.
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := answering.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("closed in no time while a block is read: %v", err)
	}
	goOn()
	noError(t, <-closed)
	asking.Wait()
}

// Responses and what is kept are bounded, and so are the requests that are answered at once.
func TestExchange_Bounds(t *testing.T) {
	big := &shelf{chain: newChain(t, 20, 64<<10)}
	m := startMember(t, empty(), everybody, startMember(t, big, everybody))
	if _, ok := m.Get(t.Context(), big.ids[19]); !ok || len(m.ahead.blocks) != 3 {
		t.Errorf("%d blocks of 64 KiB came with the first", len(m.ahead.blocks))
	}
	a := newAhead()
	for n := range 100 {
		a.add(fmt.Sprint(n), make([]byte, 1<<20))
	}
	if _, ok := a.take("99"); !ok || a.bytes > maxAhead || len(a.blocks) > 8 {
		t.Errorf("%d bytes of %d blocks are kept", a.bytes, len(a.blocks))
	}
	for n := range 10_000 {
		a.add(fmt.Sprint("small ", n), nil)
		a.take(fmt.Sprint("small ", n))
	}
	if len(a.order) > 2*maxBlocks {
		t.Errorf("the order has %d", len(a.order))
	}
	ctx, thaw := context.WithCancel(context.Background())
	defer thaw()
	slow := startMember(t, &shelf{chain: big.chain, ctx: ctx}, everybody)
	other := startMember(t, empty(), everybody, slow)
	refused := make(chan error, maxServing+1)
	for range maxServing + 1 {
		s, err := other.host.NewStream(network.WithNoDial(t.Context(), "test"), slow.host.ID(), Protocol)
		noError(t, err)
		defer func() { _ = s.Reset() }()
		noError(t, request{big.ids[0], 1}.write(s))
		go func() {
			_, err := s.Read(make([]byte, 1))
			refused <- err
		}()
	}
	select {
	case err := <-refused:
		if err == nil {
			t.Error("a frozen peer has responded")
		}
	case <-time.After(30 * time.Second):
		t.Error("all requests are taken")
	}
}

// A peer that sends more than a response has takes no more memory for that.
func TestExchange_TakesNoMoreThanItKeeps(t *testing.T) {
	all := newChain(t, 24, 1<<20)
	source := startMember(t, &shelf{chain: all}, everybody)
	source.host.SetStreamHandler(Protocol, func(s network.Stream) {
		q, err := readRequest(s)
		for n := slices.Index(all.ids, q.id); err == nil && n >= 0; n-- {
			err = writeField(s, all.data[n])
		}
		_ = s.Close()
	})
	m := startMember(t, empty(), everybody, source)
	newest := len(all.ids) - 1
	m.ahead.below = map[string]int{all.ids[newest]: maxBlocks}
	r := m.ask(t.Context(), source.host.ID(), all.ids[newest])
	if r == nil {
		t.Fatal("no block came")
	}
	size := 0
	for _, data := range r.blocks[1:] {
		size += len(data)
	}
	if size > maxAhead {
		t.Errorf("%d bytes came with the first block", size)
	}
	for n := newest; n >= 0; n-- {
		if data, ok := m.Get(t.Context(), all.ids[n]); !ok || !bytes.Equal(data, all.data[n]) {
			t.Fatalf("block %d did not come", n)
		}
	}
}

// Garbage is no request, and ends its stream alone.
func TestReadRequest_Garbage(t *testing.T) {
	source := &shelf{chain: newChain(t, 1, 10)}
	served := startMember(t, source, everybody)
	m := startMember(t, empty(), everybody, served)
	for _, garbage := range [][]byte{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, {0xff, 0x7f}, {3, 'a'}, {}, {0, 0}} {
		s, err := m.host.NewStream(t.Context(), served.host.ID(), Protocol)
		noError(t, err)
		_, _ = s.Write(garbage) // It may be refused before it is complete.
		_ = s.CloseWrite()
		if n, err := s.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%v got an answer", garbage)
		}
		_ = s.Reset()
	}
	if _, ok := m.Get(t.Context(), source.ids[0]); !ok {
		t.Error("no answer any more")
	}
}
