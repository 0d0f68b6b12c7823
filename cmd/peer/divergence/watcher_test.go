package divergence

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// elements are those of one key, as a test sets them.
type elements struct {
	mu             sync.Mutex
	unfinished     int
	live, tombs    []string
	lost           string // the element whose block is lost
	repaired, kept []string
	marked         []int // how many were repaired at each mark
}

func (e *elements) Members(context.Context, string) (crdtstore.Members, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return crdtstore.Members{Live: e.live, Tombs: e.tombs}, nil
}

func (e *elements) Block(_ context.Context, id string) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if id == e.lost {
		return nil, datastore.ErrNotFound
	}
	return []byte(id), nil
}

func (e *elements) Repair(_ context.Context, key string, tombs, elements []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.repaired = append(e.repaired, fmt.Sprint(key, " -", tombs, " +", elements))
	return nil
}

func (e *elements) Keep(_ context.Context, _, id string, _ []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, id)
	return nil
}

func (e *elements) MarkDirty(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.marked = append(e.marked, len(e.repaired))
	return nil
}

func (e *elements) Unfinished() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unfinished
}

// side is one of two peers.
type side struct {
	*Watcher
	pinset   *digest.Store
	elements *elements
	host     host.Host
}

// sides are two peers that know each other's digest at once. Samples are taken by the test.
func sides(t *testing.T) (a, b *side) {
	t.Helper()
	both := make([]*side, 2)
	for i := range both {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
		noError(t, err)
		t.Cleanup(func() { _ = h.Close() })
		rows := digest.Rows{
			Prefix: datastore.NewKey("/r"), Of: func(key string) (string, bool) { return key, true },
			To: func(row string) string { return row },
		}
		s := &side{pinset: digest.New(dssync.MutexWrap(datastore.NewMapDatastore()), rows), elements: &elements{}, host: h}
		noError(t, s.pinset.Count(t.Context()))
		both[i] = s
	}
	a, b = both[0], both[1]
	noError(t, a.host.Connect(t.Context(), peer.AddrInfo{ID: b.host.ID(), Addrs: b.host.Addrs()}))
	for _, s := range both {
		var err error
		s.Watcher, err = New(Config{
			Host: s.host, Pinset: s.pinset, Elements: s.elements, ClusterName: "cluster",
			Members: func(context.Context) ([]peer.ID, error) { return []peer.ID{a.host.ID(), b.host.ID()}, nil },
			LatestMetrics: func(ctx context.Context, _ string) (all []api.Metric) {
				for _, other := range both {
					m := (&Informer{Pinset: other.pinset}).GetMetrics(ctx)[0]
					m.Peer = other.host.ID()
					all = append(all, m)
				}
				return all
			},
			Trusted: func(context.Context, peer.ID) bool { return true },
		})
		noError(t, err)
		t.Cleanup(s.Close)
	}
	return a, b
}

func (s *side) put(t *testing.T, key, value string) {
	t.Helper()
	noError(t, s.pinset.Put(t.Context(), datastore.NewKey("/r").ChildString(key), []byte(value)))
}

// samples takes some.
func (s *side) samples(t *testing.T, n int) {
	t.Helper()
	for range n {
		own, err := s.pinset.Current()
		noError(t, err)
		s.sample(t.Context(), own)
		s.examining.Wait()
	}
}

// ended waits until a peer is not being examined.
func (s *side) ended(t *testing.T, id peer.ID) {
	t.Helper()
	await.True(t, "the examination", func() bool { return !s.isExamined(id) })
}

// other is what a side knows of the other one.
func (s *side) other() member {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		return *m
	}
	return member{}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatcher_ExaminesAfterEightSamplesAndConfirms(t *testing.T) {
	a, b := sides(t)
	for i := range 50 {
		a.put(t, fmt.Sprint("same", i), "value")
		b.put(t, fmt.Sprint("same", i), "value")
	}
	a.samples(t, 20)
	if m := a.other(); m.state != equal {
		t.Fatalf("equal peers: %+v", m)
	}
	a.put(t, "key", "mine")
	b.put(t, "key", "theirs")
	b.put(t, "only there", "value")
	a.samples(t, samples-1)
	if m := a.other(); m.suspects != nil {
		t.Fatalf("examined after %d samples", samples-1)
	}
	a.samples(t, 1)
	if m := a.other(); len(m.suspects) != 2 || m.state == diverged {
		t.Fatalf("after %d samples: %+v", samples, m)
	}
	a.samples(t, confirmAfter)
	if m := a.other(); m.state != diverged || m.diverged != 2 {
		t.Fatalf("confirmed: %+v", m)
	}
	if len(a.elements.repaired) != 2 {
		t.Errorf("repaired %q", a.elements.repaired)
	}
	if all := a.Details(); len(all) != 1 || !strings.Contains(all[0], "in at least 2 pins") {
		t.Errorf("told %q", all)
	}
	b.put(t, "key", "mine")
	a.put(t, "only there", "value")
	a.samples(t, 1)
	if all := a.Details(); len(all) != 0 || a.Stats() != (Stats{}) {
		t.Errorf("equal again, and told %q, %+v", all, a.Stats())
	}
}

// The operator reads of each state once, with the peer, and when the pinsets are the same again.
func TestWatcher_LogsEachState(t *testing.T) {
	a, b := sides(t)
	level := log.Desugar().Level()
	noError(t, logging.SetLogLevel("divergence", "info"))
	t.Cleanup(func() { _ = logging.SetLogLevel("divergence", level.String()) })
	pipe := logging.NewPipeReader(logging.PipeFormat(logging.PlaintextOutput))
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(pipe)
		read <- string(all)
	}()
	a.put(t, "key", "mine")
	b.put(t, "key", "theirs")
	a.samples(t, 3*(samples+confirmAfter))
	a.put(t, "key", "theirs")
	a.samples(t, 3)
	metrics := a.cfg.LatestMetrics
	a.cfg.LatestMetrics = func(context.Context, string) []api.Metric { return nil }
	a.samples(t, 2*samples)
	a.cfg.LatestMetrics = metrics
	a.samples(t, 1)
	noError(t, pipe.Close())

	var lines []string
	for line := range strings.Lines(<-read) {
		if _, text, found := strings.Cut(line, "peer "+b.host.ID().String()+": "); found {
			lines = append(lines, "WARN "+strings.TrimSpace(text))
		} else if strings.Contains(line, "peer "+b.host.ID().String()+" has the same pinset as this peer") {
			lines = append(lines, "same")
		} else {
			continue
		}
		if strings.Contains(line, "WARN") == (lines[len(lines)-1] == "same") {
			t.Errorf("at the wrong level: %s", line)
		}
	}
	want := []string{"WARN " + diverged.sentence(1), "same", "WARN " + noDigest.sentence(0), "same"}
	if !slices.Equal(lines, want) {
		t.Errorf("logged:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// Rows that change are on their way, and a cluster that is always busy is examined ever
// more rarely.
func TestWatcher_ABusyClusterIsNoDivergence(t *testing.T) {
	a, b := sides(t)
	a.put(t, "key", "0")
	change := 0
	needed := samples
	for range 3 {
		a.samples(t, needed)
		if m := a.other(); len(m.suspects) != 1 {
			t.Fatalf("after %d samples: %+v", needed, m)
		}
		change++
		b.put(t, "key", fmt.Sprint("change", change))
		a.samples(t, confirmAfter)
		m := a.other()
		if needed *= 2; m.state != differing || m.needed != needed {
			t.Fatalf("%+v, want %d samples", m, needed)
		}
	}
	if all := a.Details(); len(all) != 0 || len(a.elements.repaired) != 0 {
		t.Errorf("told %q, repaired %q", all, a.elements.repaired)
	}
}

// Tombs and elements of a key are taken over together: the pin is never gone in between, and no delete finds
// a part of them, which the others would undo. Without the block of one of them nothing is done. What is below an
// element that was missing may be missing too: the DAG is marked then, after the repair, and else it is not.
func TestWatcher_RepairsAKeyWholeOrNotAtAll(t *testing.T) {
	for lost, want := range map[string]string{"": "[key -[superseded] +[new newer]]", "newer": "[]"} {
		t.Run("lost: "+lost, func(t *testing.T) {
			a, b := sides(t)
			a.put(t, "key", "mine")
			b.put(t, "key", "theirs")
			a.elements.live, a.elements.tombs = []string{"superseded", "both"}, []string{"old"}
			b.elements.live, b.elements.tombs = []string{"both", "new", "newer"}, []string{"old", "superseded"}
			b.elements.lost = lost
			a.samples(t, samples+confirmAfter)
			if m := a.other(); m.state != diverged {
				t.Fatalf("confirmed: %+v", m)
			}
			if got := fmt.Sprint(a.elements.repaired); got != want {
				t.Errorf("repaired %s, want %s; kept %q", got, want, a.elements.kept)
			}
			if marked, want := a.elements.marked, []int{1}; lost == "" && !slices.Equal(marked, want) || lost != "" && len(marked) > 0 {
				t.Errorf("the DAG was marked %v", marked)
			}
			b.samples(t, samples+confirmAfter) // It lacks no element, as the tombed one is superseded.
			if len(b.elements.repaired) != 1 || len(b.elements.marked) > 0 {
				t.Errorf("the other peer repaired %q, and marked the DAG %v", b.elements.repaired, b.elements.marked)
			}
		})
	}
}

// While one of the two reads what it missed there is nothing to repair.
func TestWatcher_APeerThatCatchesUpIsLeftAlone(t *testing.T) {
	a, b := sides(t)
	a.put(t, "key", "value")
	b.elements.unfinished = 1
	a.samples(t, samples)
	b.samples(t, samples)
	for name, s := range map[string]*side{"a": a, "b": b} {
		if m := s.other(); m.state != catchingUp || m.suspects != nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// A peer that cannot be asked is told, and so is one that publishes nothing.
func TestWatcher_TellsWhomItCannotCompare(t *testing.T) {
	a, b := sides(t)
	a.put(t, "key", "value")
	b.Close()
	a.samples(t, samples)
	if m := a.other(); m.state != unreachable {
		t.Errorf("%+v", m)
	}
	a.cfg.LatestMetrics = func(context.Context, string) []api.Metric { return nil }
	a.samples(t, samples-1)
	if m := a.other(); m.state == noDigest {
		t.Errorf("too soon: %+v", m)
	}
	a.samples(t, 1)
	if m := a.other(); m.state != noDigest || a.Stats().Unknown != 1 {
		t.Errorf("%+v, %+v", m, a.Stats())
	}
}

// Only what differs is read of large pinsets, and no more than is bounded.
func TestWatcher_ExaminesABoundedPart(t *testing.T) {
	a, b := sides(t)
	for i := range maxSuspects + 500 {
		b.put(t, fmt.Sprint("key", i), "value")
	}
	a.samples(t, samples)
	if m := a.other(); len(m.suspects) != maxSuspects {
		t.Errorf("%d suspects", len(m.suspects))
	}
}

// replica is the state of a Raft peer, as a test sets its leader.
type replica struct {
	leader    peer.ID
	rewritten int
}

func (r *replica) Leader(context.Context) (peer.ID, error) { return r.leader, nil }
func (r *replica) LeaderBarrier(context.Context) error     { return nil }
func (r *replica) Rewrite(ctx context.Context, read func(context.Context) ([]raftstate.Row, error)) (changed []string, err error) {
	rows, err := read(ctx)
	r.rewritten += len(rows)
	for _, row := range rows {
		changed = append(changed, row.Key)
	}
	return changed, err
}

// Under Raft rows are taken from the leader alone, and only when every other peer could be asked and
// none has what this one has.
func TestWatcher_RestoresFromALeaderThatIsNotAlone(t *testing.T) {
	for name, c := range map[string]struct {
		led       bool // The other side is the leader.
		third     bool // There is a third peer, which cannot be asked.
		rewritten int
	}{
		"the leader":                {led: true, rewritten: 2},
		"no leader":                 {},
		"a third peer that is away": {led: true, third: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := sides(t)
			mine, theirs := &replica{leader: a.host.ID()}, &replica{leader: a.host.ID()}
			if c.led {
				mine.leader, theirs.leader = b.host.ID(), b.host.ID()
			}
			a.cfg.Elements, a.cfg.Replica = nil, mine
			b.cfg.Elements, b.cfg.Replica = nil, theirs
			if c.third {
				members := a.cfg.Members
				a.cfg.Members = func(ctx context.Context) ([]peer.ID, error) {
					all, err := members(ctx)
					return append(all, "away"), err
				}
			}
			a.put(t, "key", "mine")
			b.put(t, "key", "theirs")
			b.put(t, "only there", "value")
			a.samples(t, samples+confirmAfter)
			a.mu.Lock()
			m := *a.members[b.host.ID()]
			a.mu.Unlock()
			if m.state != diverged || m.diverged != 2 {
				t.Errorf("told %+v", m)
			}
			if mine.rewritten != c.rewritten || a.Stats().Repaired != uint64(c.rewritten) {
				t.Errorf("%d rows, %+v, want %d", mine.rewritten, a.Stats(), c.rewritten)
			}
		})
	}
}
