package clusterrpc

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

var errBroken = errors.New("the datastore is closed")

func wantKind(t testing.TB, what string, err error, kind pinsvc.Kind) {
	t.Helper()
	var told *pinsvc.Error
	if !errors.As(err, &told) || told.Kind != kind {
		t.Errorf("%s failed with %v, want kind %d", what, err, kind)
	}
}

// held is a record in the state.
func (s *services) held(n int) api.Pin {
	rec := newRecord(pinsvc.Pin{CID: pinsvctest.RawCID(n)})
	rec.Name, rec.Allocations = "held", []peer.ID{me}
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = 1, 1
	rec.Timestamp = time.Unix(1_700_000_000, 0)
	s.set(func() {
		s.pins[rec.Cid.Cid] = rec
		s.answers[rec.Cid.Cid] = says(api.TrackerStatusPinned, "")
	})
	return rec
}

func TestGetTellsAFailureFromAMissingPin(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	b := s.backend(t, Options{})
	s.fail("Cluster.PinGet", errBroken)
	_, err := b.Get(t.Context(), "", requestID(rec))
	wantKind(t, "Get without the state", err, pinsvc.KindUnavailable)
	s.fail("Cluster.PinGet", nil)
	if _, err := b.Get(t.Context(), "", requestID(rec)); err != nil {
		t.Error(err)
	}
	_, err = b.Get(t.Context(), "", pinsvctest.RawCID(2).String())
	wantKind(t, "Get of nothing", err, pinsvc.KindNotFound)
}

func TestFailedWritesLeaveNothing(t *testing.T) {
	for _, method := range []string{"Cluster.PinGet", "Cluster.BlockAllocate", "Cluster.Pin"} {
		s := newServices()
		b := s.backend(t, Options{})
		s.fail(method, errBroken)
		_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
		wantKind(t, "Add without "+method, err, pinsvc.KindUnavailable)
		if len(s.pins) != 0 {
			t.Errorf("without %s: %d pins", method, len(s.pins))
		}
	}
}

func TestFollowersRefuseWritesAndSayWhy(t *testing.T) {
	follower := errors.New("this peer is configured to be in follower mode. Write operations are disabled")
	s := newServices()
	rec := s.held(1)
	b := s.backend(t, Options{})
	for _, method := range []string{"Cluster.Pin", "Cluster.Unpin", "Cluster.BlockAllocate"} {
		s.fail(method, follower)
	}
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	wantKind(t, "Add", err, pinsvc.KindForbidden)
	_, err = b.Add(t.Context(), "", pinsvc.Pin{CID: rec.Cid.Cid, Name: "new"})
	wantKind(t, "Add again", err, pinsvc.KindForbidden)
	_, err = b.Replace(t.Context(), "", requestID(rec), pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	wantKind(t, "Replace", err, pinsvc.KindForbidden)
	wantKind(t, "Delete", b.Delete(t.Context(), "", requestID(rec)), pinsvc.KindForbidden)
	if st, err := b.Get(t.Context(), "", requestID(rec)); err != nil || st.Pin.Name != "held" {
		t.Errorf("Get: %v %v", st, err)
	}
}

func TestHalfAReplaceIsTakenBackAndNoSuccess(t *testing.T) {
	for name, other := range map[string]bool{"a new CID": false, "a CID that is held": true} {
		t.Run(name, func(t *testing.T) {
			s := newServices()
			old := s.held(1)
			if other {
				s.held(2)
			}
			b := s.backend(t, Options{})
			s.fail("Cluster.Unpin of "+old.Cid.String(), errBroken)
			_, err := b.Replace(t.Context(), "", requestID(old), pinsvc.Pin{CID: pinsvctest.RawCID(2), Name: "new"})
			wantKind(t, "Replace", err, pinsvc.KindUnavailable)
			if _, ok := s.pins[old.Cid.Cid]; !ok {
				t.Error("the old pin is gone")
			}
			rec, ok := s.pins[pinsvctest.RawCID(2)]
			if ok != other || ok && rec.Name != "held" {
				t.Errorf("the new pin is there: %t, called %q", ok, rec.Name)
			}
		})
	}
}

func TestReplaceOfWhatAnotherPeerDeletedIsNotFoundAndTakenBack(t *testing.T) {
	s := newServices()
	old := s.held(1)
	b := s.backend(t, Options{})
	s.fail("Cluster.Unpin of "+old.Cid.String(), errors.New("pin is not part of the pinset"))
	_, err := b.Replace(t.Context(), "", requestID(old), pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	wantKind(t, "Replace", err, pinsvc.KindNotFound)
	if _, ok := s.pins[pinsvctest.RawCID(2)]; ok {
		t.Error("the new pin stays")
	}
}

func TestNothingIsPinnedWithoutDelegates(t *testing.T) {
	s := newServices()
	b := s.backend(t, Options{StatusTimeout: 50 * time.Millisecond})
	s.set(func() { s.alloc = []peer.ID{peer.ID("never heard of")} })
	s.fail("Cluster.ID", errBroken)
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	wantKind(t, "Add", err, pinsvc.KindUnavailable)
	if n := s.called("Cluster.Pin"); n != 0 {
		t.Errorf("pinned %d times", n)
	}
}

func TestDelegatesOfPeersThatWentAwayStayKnown(t *testing.T) {
	s := newServices()
	var clock fakeClock
	b := s.backend(t, Options{Now: clock.now})
	s.set(func() { s.id.IPFS = api.IPFSID{Error: "connection refused"} })
	clock.advance(24 * time.Hour)
	st, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if err != nil || !slices.Equal(st.Delegates, []string{"/ip4/203.0.113.7/tcp/4001/p2p/" + me.String()}) {
		t.Errorf("%v %v", st.Delegates, err)
	}
}

func TestAHangingStateEndsARequestInTime(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	b := s.backend(t, Options{StateTimeout: 20 * time.Millisecond})
	release := s.hang("Cluster.PinGet")
	defer release()
	_, err := b.Get(t.Context(), "", requestID(rec))
	wantKind(t, "Get", err, pinsvc.KindUnavailable)
	page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses}))
	if err != nil || page.Count != 1 {
		t.Errorf("what is in memory is not listed: %d %v", page.Count, err)
	}
}

func TestStreamsAreDrainedWhenTheReaderStops(t *testing.T) {
	s := newServices()
	for i := range 3 * streamBuffer {
		s.held(i)
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := cluster{s.client(t)}
	if err := c.pins(t.Context(), func(api.Pin) error { return errBroken }); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.pins(ctx, func(api.Pin) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newServices()
	rec := s.held(1)
	s.set(func() { s.answers[rec.Cid.Cid] = says(api.TrackerStatusUnexpectedlyUnpinned, "lost") })
	b := New(s.client(t), Options{Self: me})
	ready(t, b)
	if _, err := b.Get(t.Context(), "", requestID(rec)); err != nil {
		t.Error(err)
	}
	b.Close()
	b.Close()
	if _, err := b.Get(t.Context(), "", requestID(rec)); err != nil {
		t.Errorf("what needs no background still works: %v", err)
	}
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	s := newServices()
	s.pinged = false
	node := s.id.IPFS
	s.id.IPFS = api.IPFSID{Error: "connection refused"}
	s.fails["Cluster.Pins"] = errBroken
	b := New(s.client(t), Options{Self: me})
	t.Cleanup(b.Close)
	says := func(want string) func() bool {
		return func() bool {
			err := b.Ready()
			return err != nil && err.Error() == "the service is starting: "+want
		}
	}
	until(t, "waits for IPFS", says("waiting for the IPFS node"))
	s.set(func() { s.id.IPFS = node })
	until(t, "waits for consensus", says("waiting for consensus"))
	// The consensus component may have no client yet, and panics without one.
	for _, method := range []string{"Cluster.ID", "Cluster.Pins", "Cluster.PinGet", "Consensus.Peers"} {
		if s.called(method) > 0 {
			t.Errorf("%s is called before the peer has begun", method)
		}
	}
	s.set(func() { s.pinged = true })
	until(t, "waits for the state", says("waiting for the shared state"))
	wantKind(t, "Ready", b.Ready(), pinsvc.KindUnavailable)
	if b.Health() == nil {
		t.Error("well before it is ready")
	}
	s.fail("Cluster.Pins", nil)
	ready(t, b)
	if err := b.Health(); err != nil {
		t.Error(err)
	}
}

func TestReAddKeepsTheRestOfTheRecord(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	s.set(func() {
		rec.ExpireAt, rec.ShardSize, rec.Mode, rec.MaxDepth = expires, 7, api.PinModeDirect, 0
		rec.PinUpdate = api.NewCid(pinsvctest.RawCID(9))
		rec.Metadata = map[string]string{
			"pinsvc.later": "a key of a later version", "old": "gone",
			"pinsvc.created": "2026-01-02T15:04:05.678Z " + requestID(rec),
		}
		s.pins[rec.Cid.Cid] = rec
	})
	before, _ := createdOf(rec)
	b := s.backend(t, Options{})
	st, err := b.Add(t.Context(), "", pinsvc.Pin{CID: rec.Cid.Cid, Name: "new", Meta: map[string]string{"k": "v"}})
	if err != nil {
		t.Fatal(err)
	}
	got := s.pins[rec.Cid.Cid]
	switch {
	case !got.ExpireAt.Equal(expires), got.ShardSize != 7, got.Mode != api.PinModeDirect, got.MaxDepth != 0:
		t.Errorf("%+v", got)
	case got.Metadata["pinsvc.later"] != "a key of a later version", got.Metadata["k"] != "v", got.Name != "new":
		t.Errorf("%+v", got)
	case got.PinUpdate.Defined():
		t.Error("it would be pinned by an update again")
	}
	if _, ok := got.Metadata["old"]; ok || len(st.Pin.Meta) != 1 {
		t.Errorf("metadata %v, shown %v", got.Metadata, st.Pin.Meta)
	}
	if created, _ := createdOf(got); !created.Equal(before) || !st.Created.Equal(before) {
		t.Errorf("created %v, then %v", before, created)
	}
	if rec.Metadata["old"] != "gone" || len(rec.Metadata) != 3 {
		t.Error("the state's own map was changed")
	}
}

func TestReAddOfAnExpiredPinKeepsIt(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	s.set(func() {
		rec.ExpireAt = time.Now().Add(-time.Minute)
		s.pins[rec.Cid.Cid] = rec
	})
	b := s.backend(t, Options{})
	if _, err := b.Add(t.Context(), "", pinsvc.Pin{CID: rec.Cid.Cid}); err != nil {
		t.Fatal(err)
	}
	if got := s.pins[rec.Cid.Cid].ExpireAt; !got.IsZero() {
		t.Errorf("it expires %v", got)
	}
}

func TestReservedKeysAreRefusedHiddenAndNoFilter(t *testing.T) {
	s := newServices()
	b := s.backend(t, Options{})
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1), Meta: map[string]string{"pinsvc.created": "x"}})
	wantKind(t, "Add", err, pinsvc.KindBadRequest)
	st, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if err != nil || st.Pin.Meta != nil {
		t.Fatalf("%v %v", st.Pin.Meta, err)
	}
	value := s.pins[pinsvctest.RawCID(1)].Metadata["pinsvc.created"]
	if value == "" {
		t.Fatal("no creation time is kept")
	}
	page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{
		Limit: 10, Statuses: pinsvc.AllStatuses, Meta: map[string]string{"pinsvc.created": value},
	}))
	if err != nil || page.Count != 0 {
		t.Errorf("%d pins by a key that clients cannot see: %v", page.Count, err)
	}
}

func TestPartsOfShardedPinsAreNoPins(t *testing.T) {
	s := newServices()
	part := s.held(1)
	s.set(func() {
		part.Type, part.MaxDepth = api.ShardType, 1
		s.pins[part.Cid.Cid] = part
	})
	b := s.backend(t, Options{})
	_, err := b.Get(t.Context(), "", requestID(part))
	wantKind(t, "Get", err, pinsvc.KindNotFound)
	wantKind(t, "Delete", b.Delete(t.Context(), "", requestID(part)), pinsvc.KindNotFound)
	_, err = b.Add(t.Context(), "", pinsvc.Pin{CID: part.Cid.Cid})
	wantKind(t, "Add", err, pinsvc.KindBadRequest)
	page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses}))
	if err != nil || page.Count != 0 {
		t.Errorf("%d pins: %v", page.Count, err)
	}
}
