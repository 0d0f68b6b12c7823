package clusterrpc

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// fakeHints are sent by a test.
type fakeHints struct {
	mu  sync.Mutex
	all []func(Hint)
}

func (f *fakeHints) Subscribe(each func(Hint)) (cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, each)
	return func() {}
}

func (f *fakeHints) send(h Hint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, each := range f.all {
		each(h)
	}
}

// hinted is a backend that reads the whole state once only, and its hints.
func hinted(t *testing.T, s *services) (*Backend, *fakeHints) {
	hints := &fakeHints{}
	return s.backend(t, Options{Hints: hints, ReconcileInterval: time.Hour, SweepInterval: time.Hour}), hints
}

// counts waits until a list of everything counts n.
func counts(t *testing.T, b *Backend, n int) {
	t.Helper()
	until(t, "the list is as long as it should be", func() bool { return b.listed(t) == n })
}

func (b *Backend) listed(t *testing.T) int {
	t.Helper()
	page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses}))
	if err != nil {
		t.Fatal(err)
	}
	return page.Count
}

func (s *services) remove(rec api.Pin) { s.set(func() { delete(s.pins, rec.Cid.Cid) }) }

func TestHintsOfChangesByOthersReachTheView(t *testing.T) {
	s := newServices()
	b, hints := hinted(t, s)
	rec := s.held(1)
	hints.send(Hint{CID: rec.Cid.Cid, Written: rec.Timestamp})
	counts(t, b, 1)
	s.remove(rec)
	hints.send(Hint{CID: rec.Cid.Cid, Removed: true})
	counts(t, b, 0)
}

// A hint may come before the change is committed.
func TestAHintThatIsTooEarlyIsLookedAtAgain(t *testing.T) {
	s := newServices()
	b, hints := hinted(t, s)
	rec := newRecord(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	hints.send(Hint{CID: rec.Cid.Cid, Written: time.Unix(1_700_000_000, 0)})
	until(t, "read", func() bool { return s.called("Cluster.PinGet") > 0 })
	if n := b.listed(t); n != 0 {
		t.Errorf("%d pins, but the state has none", n)
	}
	s.held(1)
	counts(t, b, 1)
	// Rewritten records, announced before they are there; the second one in
	// the second of the first.
	for _, name := range []string{"newer", "newest"} {
		newer := s.pins[rec.Cid.Cid]
		newer.Name, newer.Timestamp = name, time.Unix(1_700_000_100, 0)
		before := s.called("Cluster.PinGet")
		hints.send(Hint{CID: rec.Cid.Cid, Written: newer.Timestamp, Record: form(newer, true)})
		until(t, "read", func() bool { return s.called("Cluster.PinGet") > before })
		s.set(func() { s.pins[rec.Cid.Cid] = newer })
		until(t, "renamed", func() bool {
			p, _ := b.view.Get(rec.Cid.Cid)
			return p.Name == name
		})
	}
}

// A delete hook also comes when another peer's pin survives.
func TestAWrongHintOfARemovalRemovesNothing(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	b, hints := hinted(t, s)
	before := s.called("Cluster.PinGet")
	hints.send(Hint{CID: rec.Cid.Cid, Removed: true})
	until(t, "looked at", func() bool { return s.called("Cluster.PinGet") >= before+2 })
	if n := b.listed(t); n != 1 {
		t.Errorf("%d pins", n)
	}
}

func TestTheWholeStateIsReadForWhatNoHintTold(t *testing.T) {
	for name, hints := range map[string]Hints{"with hints": &fakeHints{}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			s := newServices()
			gone := s.held(1)
			b := s.backend(t, Options{Hints: hints, ReconcileInterval: 5 * time.Millisecond})
			s.remove(gone)
			s.held(2)
			s.held(3)
			until(t, "both are there and the first is gone", func() bool {
				_, has := b.view.Get(gone.Cid.Cid)
				return !has && b.listed(t) == 2
			})
		})
	}
}

func TestWithoutHintsTheStateIsReadOften(t *testing.T) {
	s := newServices()
	b := New(s.client(t), Options{Self: me, ReconcileInterval: time.Hour})
	defer b.Close()
	if b.opts.ReconcileInterval > 30*time.Second {
		t.Errorf("every %s", b.opts.ReconcileInterval)
	}
}

func TestAWalkThatBreaksOffRemovesNothing(t *testing.T) {
	s := newServices()
	for i := range 5 {
		s.held(i)
	}
	b, _ := hinted(t, s)
	s.set(func() {
		for c := range s.pins {
			delete(s.pins, c)
		}
		s.fails["Cluster.Pins in the middle"] = errBroken
	})
	if err := b.feed.walk(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("the walk ended with %v", err)
	}
	if n := b.listed(t); n != 5 {
		t.Errorf("%d pins are left", n)
	}
}

// What is read while the whole state streams in is newer than the stream.
func TestAStreamOfAnOlderStateOverwritesNothing(t *testing.T) {
	s := newServices()
	old, gone := s.held(1), s.held(2)
	b, _ := hinted(t, s)
	b.feed.setFresh(make(map[cid.Cid]struct{}))
	st, err := b.Add(t.Context(), "", pinsvc.Pin{CID: old.Cid.Cid, Name: "new"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "", requestID(gone)); err != nil {
		t.Fatal(err)
	}
	b.feed.enterStreamed(old)
	b.feed.enterStreamed(gone)
	p, _ := b.view.Get(old.Cid.Cid)
	if n := b.listed(t); n != 1 || p.Name != "new" || !p.Created.Equal(st.Created) {
		t.Errorf("%d pins, the one is %+v", n, p)
	}
}

func TestTooManyHintsHaveTheWholeStateRead(t *testing.T) {
	q := newHintQueue()
	for i := range maxHints + 1 {
		q.add(Hint{CID: pinsvctest.RawCID(i)})
		q.add(Hint{CID: pinsvctest.RawCID(i), Removed: true})
	}
	if len(q.order) != maxHints || !q.overflowed() || q.overflowed() {
		t.Errorf("%d hints wait", len(q.order))
	}
	if h, step, wait := q.take(); !h.Removed || step != 0 || wait != 0 {
		t.Errorf("the last word does not count: %+v", h)
	}
}

func TestHintsAreLookedAtAgainUntilPatienceEnds(t *testing.T) {
	var clock fakeClock
	q := newHintQueue()
	q.now = clock.now
	h := Hint{CID: pinsvctest.RawCID(1)}
	for step, wait := range patience {
		q.retry(h, step)
		if _, _, got := q.take(); got != wait {
			t.Errorf("step %d waits %s, want %s", step, got, wait)
		}
		clock.advance(wait)
		if got, next, rest := q.take(); got != h || next != step+1 || rest != 0 {
			t.Errorf("after step %d comes %d in %s", step, next, rest)
		}
	}
	q.retry(h, len(patience))
	if _, _, wait := q.take(); wait < time.Minute {
		t.Error("there is no end")
	}
}

func TestListsWaitForTheViewAndSayHowFarItIs(t *testing.T) {
	s := newServices()
	s.held(1)
	release := s.hang("Cluster.Pins")
	defer release()
	b := New(s.client(t), Options{Self: me, FillWait: 20 * time.Millisecond})
	defer b.Close()
	until(t, "reading", func() bool { return s.called("Cluster.Pins") == 1 })
	_, err := b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses})
	var told *pinsvc.Error
	if !errors.As(err, &told) || told.Kind != pinsvc.KindUnavailable || told.RetryAfter <= 0 {
		t.Errorf("List: %v", err)
	}
	if text := b.Ready().Error(); !strings.Contains(text, "reading the pinset: 0 pins so far") {
		t.Errorf("Ready: %s", text)
	}
	b.opts.FillWait = time.Minute
	listed := make(chan int)
	go func() { listed <- b.listed(t) }()
	release()
	if n := <-listed; n != 1 {
		t.Errorf("%d pins", n)
	}
}

// Another tool that changes a pin replaces its metadata whole.
func TestKeysThatAnotherToolWipedAreWrittenBack(t *testing.T) {
	s := newServices()
	var clock fakeClock
	hints := &fakeHints{}
	b := s.backend(t, Options{Hints: hints, Now: clock.now})
	st, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.V0CID(1), Name: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if st, err = b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.V1CID(1), Name: "mine"}); err != nil {
		t.Fatal(err)
	}
	key := pinsvctest.V0CID(1)
	s.set(func() {
		rec := s.pins[key]
		rec.Name, rec.Metadata = "theirs", map[string]string{"tool": "ctl"}
		rec.Timestamp = rec.Timestamp.Add(time.Minute)
		s.pins[key] = rec
	})
	hints.send(Hint{CID: key, Written: time.Now()})
	check := func(when string) {
		t.Helper()
		for _, ask := range []func() (pinsvc.PinStatus, error){
			func() (pinsvc.PinStatus, error) { return b.Get(t.Context(), "", key.String()) },
			func() (pinsvc.PinStatus, error) {
				page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 1, Statuses: pinsvc.AllStatuses}))
				if err != nil || len(page.Results) != 1 {
					return pinsvc.PinStatus{}, errors.Join(err, errors.New("no pin"))
				}
				return page.Results[0], nil
			},
		} {
			got, err := ask()
			if err != nil || !got.Created.Equal(st.Created) || got.Pin.Name != "theirs" ||
				got.Pin.Meta["tool"] != "ctl" || !got.Pin.CID.Equals(pinsvctest.V1CID(1)) {
				t.Errorf("%s: %+v, %v", when, got, err)
			}
		}
	}
	until(t, "changed", func() bool {
		p, _ := b.view.Get(key)
		return p.Name == "theirs"
	})
	check("before it is written back")
	clock.advance(2 * restoreDelay)
	until(t, "written back", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		created, ours := createdOf(s.pins[key])
		return ours && created.Equal(st.Created)
	})
	check("after it was written back")
	s.set(func() {
		if rec := s.pins[key]; rec.Metadata["tool"] != "ctl" || !askedCID(rec).Equals(pinsvctest.V1CID(1)) {
			t.Errorf("the record is %+v", rec)
		}
	})
}
