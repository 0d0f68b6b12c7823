package divergence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/boundrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// withHostile adds a third peer to two, whose digest never is theirs, and which the caller makes answer.
func withHostile(t *testing.T) (a, b *side, hostile host.Host) {
	t.Helper()
	a, b = sides(t)
	hostile, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	noError(t, err)
	t.Cleanup(func() { _ = hostile.Close() })
	noError(t, a.host.Connect(t.Context(), peer.AddrInfo{ID: hostile.ID(), Addrs: hostile.Addrs()}))
	members, metrics := a.cfg.Members, a.cfg.LatestMetrics
	a.cfg.Members = func(ctx context.Context) ([]peer.ID, error) {
		all, err := members(ctx)
		return append([]peer.ID{hostile.ID()}, all...), err
	}
	a.cfg.LatestMetrics = func(ctx context.Context, name string) []api.Metric {
		m := api.Metric{Name: MetricName, Valid: true, Peer: hostile.ID(), Value: digest.Digest{Count: 1 << 40}.String()}
		m.SetTTL(time.Hour)
		return append(metrics(ctx, name), m)
	}
	return a, b, hostile
}

// of is what a side knows of a peer.
func (s *side) of(id peer.ID) member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[id]; m != nil {
		return *m
	}
	return member{}
}

// hostileService answers as far as a test lets it, and without any measure after that.
type hostileService struct{ rows func() []digest.Row }

func (h *hostileService) Describe(_ context.Context, _ struct{}, out *Description) error {
	*out = Description{Trusted: true, ClusterName: "cluster", Version: digest.Version, Elements: true, Buckets: make([]digest.Digest, digest.Buckets)}
	for i := range out.Buckets {
		out.Buckets[i].Sum = uint64(i) + 1
	}
	return nil
}

func (h *hostileService) Rows(_ context.Context, _ []int, out *[]digest.Row) error {
	*out = h.rows()
	return nil
}

// Whatever a peer answers, it is told that it cannot be compared, with bounded memory, and the others are examined
// meanwhile.
func TestWatcher_AHostilePeer(t *testing.T) {
	manyRows := func(n int, key string) func() []digest.Row {
		return func() []digest.Row {
			rows := make([]digest.Row, n)
			for i := range rows {
				rows[i].Key = fmt.Sprint(key, i)
			}
			return rows
		}
	}
	for name, c := range map[string]struct {
		answer network.StreamHandler
		rows   func() []digest.Row
		log    string
	}{
		"more rows than are asked for": {rows: manyRows(maxRows+1, "k"), log: "its response to Pinset.Rows is refused: more than"},
		"millions of rows":             {rows: manyRows(500_000, strings.Repeat("k", 100)), log: "its response to Pinset.Rows is refused: more than"},
		"huge keys":                    {rows: manyRows(10, strings.Repeat("k", 1<<20)), log: "its response to Pinset.Rows is refused: a string of more than"},
		"keys of other things":         {rows: manyRows(10, "../../x"), log: `its response to Rows is refused: "../../x0" is no key`},
		"a field of 1 GiB": {answer: func(s network.Stream) {
			_, _ = s.Write([]byte("\x80\x81\xa1x\xc6\x40\x00\x00\x00"))
			_, _ = io.Copy(io.Discard, s)
		}, log: "its response to Pinset.Describe is refused: a string of more than"},
		"garbage": {answer: func(s network.Stream) {
			_, _ = s.Write([]byte("\xc1\xc1\xc1"))
			_ = s.Close()
		}, log: "its response to Pinset.Describe is refused: no MessagePack"},
		"nothing":   {answer: func(s network.Stream) { _, _ = io.Copy(io.Discard, s) }},
		"no stream": {answer: func(s network.Stream) { _ = s.Reset() }},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, hostile := withHostile(t)
			if name == "nothing" {
				a.patience.short = 3 * time.Second
			}
			if c.answer != nil {
				hostile.SetStreamHandler(Protocol, c.answer)
			} else {
				noError(t, rpc.NewServer(hostile, Protocol).RegisterName(serviceName, &hostileService{c.rows}))
			}
			a.put(t, "key", "mine")
			b.put(t, "key", "theirs")
			logged := capture(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a.samples(t, samples+confirmAfter)
			runtime.ReadMemStats(&after)
			if m := a.of(hostile.ID()); m.state != unreachable || m.suspects != nil {
				t.Errorf("the hostile peer: %+v", m)
			}
			if m := a.of(b.host.ID()); m.state != diverged || m.diverged != 1 {
				t.Errorf("the other peer: %+v", m)
			}
			if text := logged(); c.log != "" && !strings.Contains(text, "asking peer "+hostile.ID().String()+" what it has: "+c.log) {
				t.Errorf("logged %s", text)
			}
			// The hostile peer of this process makes its rows too.
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 400 {
				t.Errorf("%d MiB were allocated", took)
			}
		})
	}
}

// capture returns what the log has had since.
func capture(t *testing.T) (end func() string) {
	t.Helper()
	level := log.Desugar().Level()
	noError(t, logging.SetLogLevel("divergence", "warn"))
	t.Cleanup(func() { _ = logging.SetLogLevel("divergence", level.String()) })
	pipe := logging.NewPipeReader(logging.PipeFormat(logging.PlaintextOutput))
	read := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(pipe)
		read <- string(all)
	}()
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { _ = pipe.Close() }) })
	return func() string {
		once.Do(func() { _ = pipe.Close() })
		return <-read
	}
}

// While a peer takes as long as it may, others are examined.
func TestWatcher_ASlowPeerHoldsUpNoOther(t *testing.T) {
	a, b, hostile := withHostile(t)
	var asked atomic.Int32
	hostile.SetStreamHandler(Protocol, func(s network.Stream) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, s)
	})
	ctx, stop := context.WithCancel(t.Context())
	a.put(t, "key", "mine")
	b.put(t, "key", "theirs")
	own, err := a.pinset.Current()
	noError(t, err)
	for range samples {
		a.sample(ctx, own)
	}
	for range confirmAfter {
		a.ended(t, b.host.ID())
		a.sample(ctx, own)
	}
	a.ended(t, b.host.ID())
	if m := a.of(b.host.ID()); m.state != diverged {
		t.Errorf("the other peer: %+v", m)
	}
	await.True(t, "the question to the slow peer", func() bool { return asked.Load() == 1 })
	if m := a.of(hostile.ID()); !m.busy {
		t.Errorf("the slow peer: %+v", m)
	}
	stop()
	a.examining.Wait()
}

// What is asked for names nothing but rows and blocks.
func TestService_AnswersForKeysAlone(t *testing.T) {
	a, b := sides(t)
	a.cfg.Replica = &replica{}
	b.cfg.Replica = &replica{}
	for _, key := range []string{"", "/", "..", "../../x", "a/../b", "/a", "a//b", strings.Repeat("k", maxKey+1)} {
		for _, method := range []string{rowsOfMethod, recordsMethod, membersMethod, blocksMethod} {
			if _, err := call[any](t.Context(), a.Watcher, b.host.ID(), method, []string{key}); err == nil {
				t.Errorf("%s of %.20q was answered", method, key)
			}
		}
	}
	if _, err := a.rowsOf(t.Context(), b.host.ID(), []string{"a", "only there"}); err != nil {
		t.Error(err)
	}
}

// wrong answers with what was not asked for.
type wrong struct{ hostileService }

func (*wrong) RowsOf(_ context.Context, keys []string, out *[]digest.Row) error {
	*out = make([]digest.Row, len(keys)+1)
	return nil
}

func (*wrong) Members(_ context.Context, keys []string, out *[]crdtstore.Members) error {
	*out = make([]crdtstore.Members, len(keys))
	(*out)[0].Tombs = []string{"../../h"}
	return nil
}

func (*wrong) Blocks(_ context.Context, ids []string, out *[][]byte) error {
	*out = make([][]byte, len(ids)-1)
	return nil
}

func (*wrong) Records(_ context.Context, keys []string, out *[]raftstate.Row) error {
	*out = []raftstate.Row{{Key: keys[0]}, {Key: "another"}}
	return nil
}

// Answers to other questions are refused, with the peer's name.
func TestWatcher_WrongAnswers(t *testing.T) {
	a, b := sides(t)
	noError(t, rpc.NewServer(b.host, Protocol).RegisterName(serviceName, &wrong{}))
	ctx, id, keys := t.Context(), b.host.ID(), []string{"key", "other"}
	for method, ask := range map[string]func() error{
		rowsOfMethod:  func() error { _, err := a.rowsOf(ctx, id, keys); return err },
		membersMethod: func() error { _, err := a.membersOf(ctx, id, keys); return err },
		blocksMethod:  func() error { _, err := a.blocks(ctx, id, keys); return err },
		recordsMethod: func() error { _, err := a.records(ctx, id, keys); return err },
	} {
		if err := ask(); !errors.Is(err, boundrpc.ErrRefused) || !errors.Is(err, errUnanswered) || !strings.Contains(err.Error(), id.String()) {
			t.Errorf("%s: %v", method, err)
		}
	}
}
