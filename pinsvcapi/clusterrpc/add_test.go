package clusterrpc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.opencensus.io/trace"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// TestAdd_ARenamedPinIsPinnedThroughout polls while the trackers pin it again.
func TestAdd_ARenamedPinIsPinnedThroughout(t *testing.T) {
	s := newService(t, clustertest.Options{ConcurrentPins: 1})
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	// The only worker is busy, so a pin that is tracked again has to queue.
	s.peer.Node.HoldPins(true)
	s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	for i := range 20 {
		s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: fmt.Sprint(i)})
		for range 5 {
			if got := s.get(st.RequestID); got.Status != pinsvc.StatusPinned {
				t.Fatalf("after change %d: %s", i, got.Status)
			}
		}
		if page := s.list(pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}); page.Count != 1 {
			t.Fatalf("after change %d: %d are pinned", i, page.Count)
		}
	}
	trackerReports(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusPinQueued)
}

func TestAdd_OfAPinnedCIDSaysPinned(t *testing.T) {
	s := newService(t, clustertest.Options{})
	pinBy(t, s.peer, api.PinWithOpts(api.NewCid(pinsvctest.RawCID(1)), api.PinOptions{Name: "ctl"}))
	trackerReports(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusPinned)
	await.Success(t, "the pin is here", func() error {
		_, err := s.Get(t.Context(), "", pinsvctest.RawCID(1).String())
		return err
	})
	s.becomes(pinsvctest.RawCID(1).String(), pinsvc.StatusPinned)
	if got := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)}); got.Status != pinsvc.StatusPinned {
		t.Errorf("%s", got.Status)
	}
}

// Another tool has made the pin a moment ago, and nobody has asked for it yet: a write does not either.
func TestAdd_OfAPinThatNobodyHasAskedFor(t *testing.T) {
	s := newService(t, clustertest.Options{})
	pinBy(t, s.peer, api.PinWithOpts(api.NewCid(pinsvctest.RawCID(1)), api.PinOptions{Name: "ctl"}))
	trackerReports(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusPinned)
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if st.Status != pinsvc.StatusQueued && st.Status != pinsvc.StatusPinned {
		t.Errorf("%s", st.Status)
	}
	s.becomes(st.RequestID, pinsvc.StatusPinned)
}

// Nobody has noticed yet that the content is gone; posting the pin again fetches it.
func TestAdd_OfContentThatIPFSLost(t *testing.T) {
	s := newService(t, clustertest.Options{})
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	s.peer.Node.Lose(pinsvctest.RawCID(1))
	s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	await.True(t, "fetched again", func() bool { return s.peer.Node.Has(pinsvctest.RawCID(1)) })
}

func TestAdd_AFailedPinSaysWhyAndAReAddStartsAnew(t *testing.T) {
	s := newService(t, clustertest.Options{})
	s.peer.Node.Fail(pinsvctest.RawCID(1), errors.New("merkledag: the content is malformed"))
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(st.RequestID, pinsvc.StatusFailed)
	if got := s.get(st.RequestID); got.Info["status_details"] != "merkledag: the content is malformed, attempt 1 of 1" {
		t.Errorf("info %v", got.Info)
	}
	s.peer.Node.Succeed(pinsvctest.RawCID(1))
	if got := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)}); got.Status == pinsvc.StatusFailed {
		t.Error("failed before it was tried again")
	}
	s.becomes(st.RequestID, pinsvc.StatusPinned)
}

func TestAdd_CreatedSurvivesTheClustersOwnPinning(t *testing.T) {
	s := newService(t, clustertest.Options{})
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	rec, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(1)))
	if err != nil {
		t.Fatal(err)
	}
	pinBy(t, s.peer, rec) // What the cluster does when it moves a pin.
	if got := s.get(st.RequestID); !got.Created.Equal(st.Created) {
		t.Errorf("created %v, then %v", st.Created, got.Created)
	}
}

// TestAdd_CreatedIsNotCopiedByAnUpdate: the cluster copies the metadata of a pin
// to the one that it is updated to.
func TestAdd_CreatedIsNotCopiedByAnUpdate(t *testing.T) {
	s := newService(t, clustertest.Options{})
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "old", Meta: map[string]string{"k": "v"}})
	other := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	from, to := api.NewCid(pinsvctest.RawCID(1)), api.NewCid(pinsvctest.RawCID(3))
	if _, err := s.peer.Cluster.PinUpdate(t.Context(), from, to, api.PinOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Success(t, "the update is there", func() error {
		_, err := s.Get(t.Context(), "", to.String())
		return err
	})
	got := s.get(to.String())
	if got.Created.Equal(old.Created) || got.Pin.Meta["k"] != "v" || len(got.Pin.Meta) != 1 {
		t.Errorf("%+v", got)
	}
	// And what is requested through the service is not made by an update.
	s.add(pinsvc.Pin{CID: to.Cid, Name: "kept"})
	if rec, err := s.peer.Cluster.PinGet(t.Context(), to); err != nil || rec.PinUpdate.Defined() || rec.Name != "kept" {
		t.Errorf("%+v %v", rec, err)
	}
	s.get(other.RequestID)
}

func TestAdd_AFollowerServesAndRefusesWrites(t *testing.T) {
	t.Parallel()
	writer := clustertest.Start(t, 1, clustertest.Options{})[0]
	follower, err := clustertest.New(clustertest.Options{Follower: true, Join: []*clustertest.Peer{writer}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.Close)
	if err := errors.Join(follower.Ready(t.Context()), follower.Members(t.Context(), 2)); err != nil {
		t.Fatal(err)
	}
	made := service{newBackend(t, writer, clusterrpc.Options{}), t, writer}.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	everyoneHas(t, []*clustertest.Peer{follower}, pinsvctest.RawCID(1))
	s := service{newBackend(t, follower, clusterrpc.Options{}), t, follower}
	s.becomes(made.RequestID, pinsvc.StatusPinned)
	_, addErr := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	_, againErr := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "x"})
	_, replaceErr := s.Replace(t.Context(), "", made.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	deleteErr := s.Delete(t.Context(), "", made.RequestID)
	for _, err := range []error{addErr, againErr, replaceErr, deleteErr} {
		var failure *pinsvc.Error
		if !errors.As(err, &failure) || failure.Kind != pinsvc.KindForbidden || failure.Details == "" {
			t.Errorf("%v, want forbidden and why", err)
		}
	}
	if got := s.get(made.RequestID); got.Pin.Name != "" {
		t.Errorf("%+v", got)
	}
}

func TestAdd_FailedWritesLeaveNothing(t *testing.T) {
	for _, method := range []string{"Cluster.PinGet", "Cluster.BlockAllocate", "Consensus.LogPin"} {
		b := ready(t, clusterfake.New(), clusterrpc.Options{})
		b.fake.Fail(method, errBroken)
		_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
		wantKind(t, "Add without "+method, err, pinsvc.KindUnavailable)
		if n := b.fake.Len(); n != 0 {
			t.Errorf("without %s: %d pins", method, n)
		}
	}
}

func TestAdd_FollowersRefuseWritesAndSayWhy(t *testing.T) {
	follower := errors.New("this peer is configured to be in follower mode. Write operations are disabled")
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{})
	for _, method := range []string{"Consensus.LogPin", "Consensus.LogUnpin", "Cluster.BlockAllocate"} {
		fake.Fail(method, follower)
	}
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	wantKind(t, "Add", err, pinsvc.KindForbidden)
	_, err = b.Add(t.Context(), "", pinsvc.Pin{CID: rec.Cid.Cid, Name: "new"})
	wantKind(t, "Add again", err, pinsvc.KindForbidden)
	if !strings.Contains(err.Error(), "cluster.follower_mode") {
		t.Errorf("%q does not name the configuration key", err)
	}
	_, err = b.Replace(t.Context(), "", rec.Cid.String(), pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	wantKind(t, "Replace", err, pinsvc.KindForbidden)
	wantKind(t, "Delete", b.Delete(t.Context(), "", rec.Cid.String()), pinsvc.KindForbidden)
	if st := b.get(rec.Cid.Cid); st.Pin.Name != "held" {
		t.Errorf("%+v", st)
	}
}

func TestAdd_NothingIsPinnedWithoutDelegates(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{StatusTimeout: 50 * time.Millisecond})
	b.fake.Set(func() { b.fake.Allocation = []peer.ID{"never reported an address"} })
	b.fake.Fail("Cluster.ID", errBroken)
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	wantKind(t, "Add", err, pinsvc.KindUnavailable)
	if n := b.fake.Called("Consensus.LogPin"); n != 0 {
		t.Errorf("pinned %d times", n)
	}
}

func TestAdd_DelegatesOfUnavailableNodesStayKnown(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	b.fake.Set(func() { b.fake.ID.IPFS = api.IPFSID{Error: "connection refused"} })
	b.clock.Advance(24 * time.Hour)
	st := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if want := []string{"/ip4/203.0.113.7/tcp/4001/p2p/" + clusterfake.Self().String()}; !slices.Equal(st.Delegates, want) {
		t.Errorf("%q, want %q", st.Delegates, want)
	}
}

func TestAdd_ReAddKeepsTheRestOfTheRecord(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	rec.ExpireAt, rec.ShardSize = expires, 7
	rec.PinUpdate = api.NewCid(pinsvctest.RawCID(9))
	rec.Metadata = map[string]string{
		"pinsvc.later": "a key of a later version", "old": "gone",
		"pinsvc.created": "2026-01-02T15:04:05.678Z " + rec.Cid.String(),
	}
	fake.Put(rec)
	before, _ := pinrecord.CreatedOf(rec)
	b := ready(t, fake, clusterrpc.Options{})
	st := b.add(pinsvc.Pin{CID: rec.Cid.Cid, Name: "new", Meta: map[string]string{"k": "v"}})
	got, _ := fake.Record(rec.Cid.Cid)
	switch {
	case !got.ExpireAt.Equal(expires), got.ShardSize != 7, !slices.Equal(got.Allocations, rec.Allocations):
		t.Errorf("%+v", got)
	case got.Metadata["pinsvc.later"] != "a key of a later version", got.Metadata["k"] != "v", got.Name != "new":
		t.Errorf("%+v", got)
	case got.PinUpdate.Defined():
		t.Error("it would be pinned by an update again")
	}
	if _, ok := got.Metadata["old"]; ok || len(st.Pin.Meta) != 1 {
		t.Errorf("metadata %v, shown %v", got.Metadata, st.Pin.Meta)
	}
	if created, _ := pinrecord.CreatedOf(got); !created.Equal(before) || !st.Created.Equal(before) {
		t.Errorf("created %v, then %v", before, created)
	}
	if rec.Metadata["old"] != "gone" || len(rec.Metadata) != 3 {
		t.Error("the state's own map was changed")
	}
}

func TestAdd_ReAddOfAnExpiredPinKeepsIt(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	rec.ExpireAt = time.Now().Add(-time.Minute)
	fake.Put(rec)
	b := ready(t, fake, clusterrpc.Options{})
	b.add(pinsvc.Pin{CID: rec.Cid.Cid})
	if got, _ := fake.Record(rec.Cid.Cid); !got.ExpireAt.IsZero() {
		t.Errorf("it expires %v", got.ExpireAt)
	}
}

func TestAdd_ReservedKeysAreRefusedHiddenAndNoFilter(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1), Meta: map[string]string{"pinsvc.created": "x"}})
	wantKind(t, "Add", err, pinsvc.KindBadRequest)
	if st := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)}); st.Pin.Meta != nil {
		t.Fatalf("%v", st.Pin.Meta)
	}
	rec, _ := b.fake.Record(pinsvctest.RawCID(1))
	value := rec.Metadata["pinsvc.created"]
	if value == "" {
		t.Fatal("no creation time is kept")
	}
	q := everything(10)
	q.Meta = map[string]string{"pinsvc.created": value}
	if page := b.list(q); page.Count != 0 {
		t.Errorf("%d pins by a key that clients cannot see", page.Count)
	}
}

// A record is newer because the consensus says so, not because of the time in it: the
// clock of the peer that writes is half an hour back.
func TestAdd_ARenameByAPeerWithAnOlderClockIsListedElsewhere(t *testing.T) {
	const pins = 20 // More than 32 changes at once may wait for the next rebroadcast.
	peers := clustertest.Start(t, 2, clustertest.Options{})
	first := service{newBackend(t, peers[0], clusterrpc.Options{Events: peers[0].Events}), t, peers[0]}
	behind := func() time.Time { return time.Now().Add(-30 * time.Minute) }
	second := service{newBackend(t, peers[1], clusterrpc.Options{Events: peers[1].Events, Now: behind}), t, peers[1]}
	for n := range pins {
		first.add(pinsvc.Pin{CID: pinsvctest.RawCID(n), Name: "before"})
	}
	second.counts(pinsvc.Query{Name: "before"}, pins)
	for n := range pins {
		second.add(pinsvc.Pin{CID: pinsvctest.RawCID(n), Name: "renamed"})
	}
	// The next resync would be in 10 minutes.
	first.counts(pinsvc.Query{Name: "renamed"}, pins)
}

// spans collects the spans that end.
type spans struct {
	mu  sync.Mutex
	all []*trace.SpanData
}

func (s *spans) ExportSpan(span *trace.SpanData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, span)
}

// children are the names of the spans below one, each once.
func (s *spans) children(parent trace.SpanID) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.all {
		if span.ParentSpanID == parent && !slices.Contains(names, span.Name) {
			names = append(names, span.Name)
		}
	}
	return names
}

func TestAdd_ItsTraceShowsItsSteps(t *testing.T) {
	var collected spans
	trace.RegisterExporter(&collected)
	defer trace.UnregisterExporter(&collected)
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	ctx, request := trace.StartSpan(t.Context(), "request", trace.WithSampler(trace.AlwaysSample()))
	if _, err := b.Add(ctx, "", pinsvc.Pin{CID: pinsvctest.RawCID(1)}); err != nil {
		t.Fatal(err)
	}
	request.End()
	got := collected.children(request.SpanContext().SpanID)
	for _, want := range []string{"lock", "read_state", "allocate", "commit", "update_view"} {
		if !slices.Contains(got, "pinsvcapi/"+want) {
			t.Errorf("no span %q among %q", want, got)
		}
	}
}
