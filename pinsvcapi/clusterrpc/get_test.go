package clusterrpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestGet_APinThatIPFSLostIsServedAndRecovered(t *testing.T) {
	s := newService(t, clustertest.Options{})
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	s.peer.Node.HoldPins(true)
	s.peer.Node.Lose(pinsvctest.RawCID(1))
	trackerReports(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusUnexpectedlyUnpinned)
	if got := s.get(st.RequestID); got.Status != pinsvc.StatusPinning {
		t.Errorf("Get says %s, want pinning", got.Status)
	}
	if page := s.list(pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusPinning)}); page.Count != 1 {
		t.Errorf("%d are listed as pinning", page.Count)
	}
	trackerReports(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusPinning) // A retry was requested.
	s.peer.Node.HoldPins(false)
	s.becomes(st.RequestID, pinsvc.StatusPinned)
}

func TestGet_BothFormsOfACIDThatAnotherToolPinnedAreFound(t *testing.T) {
	s := newService(t, clustertest.Options{})
	v0, v1 := pinsvctest.V0CID(1), pinsvctest.V1CID(1)
	for _, c := range []cid.Cid{v0, v1} {
		pinBy(t, s.peer, api.PinWithOpts(api.NewCid(c), api.PinOptions{Name: c.String()}))
	}
	s.counts(pinsvc.Query{CIDs: []cid.Cid{v0}}, 2)
	for _, c := range []cid.Cid{v0, v1} {
		if got := s.get(c.String()); got.RequestID != c.String() || got.Pin.Name != c.String() {
			t.Errorf("%s names %s", c, got.RequestID)
		}
	}
	// What a client does that removes all it was shown.
	for _, c := range []cid.Cid{v0, v1} {
		if err := s.Delete(t.Context(), "", c.String()); err != nil {
			t.Errorf("Delete(%s): %v", c, err)
		}
	}
	if page := s.list(pinsvc.Query{}); page.Count != 0 {
		t.Errorf("%d pins are left", page.Count)
	}
}

// patience is what a peer that does not respond may cost, with some room for a
// machine that is busy.
const patience = clusterrpc.DefaultStatusTimeout + 1500*time.Millisecond

func TestGet_OneStatusFromThreePeers(t *testing.T) {
	s, peers := newCluster(t)
	c := pinsvctest.RawCID(1)
	st := s.add(pinsvc.Pin{CID: c, Name: "three"})
	if len(st.Delegates) != 3 {
		t.Errorf("delegates %q, want the public address of each holder", st.Delegates)
	}
	for _, p := range peers {
		if want := "/p2p/" + p.Node.PeerID().String(); !slices.ContainsFunc(st.Delegates, func(d string) bool {
			return len(d) > len(want) && d[len(d)-len(want):] == want
		}) {
			t.Errorf("no delegate of %s in %q", p.ID(), st.Delegates)
		}
	}
	everyoneHas(t, peers, c)
	for _, p := range peers {
		trackerReports(t, p, c, api.TrackerStatusPinning)
	}

	peers[1].Node.Fail(c, errors.New("merkledag: malformed"))
	trackerReports(t, peers[1], c, api.TrackerStatusPinError)
	s.becomes(st.RequestID, pinsvc.StatusPinning)
	peers[0].Node.Succeed(c)
	s.becomes(st.RequestID, pinsvc.StatusPinning) // One of two.
	peers[2].Node.Succeed(c)
	s.becomes(st.RequestID, pinsvc.StatusPinned) // Enough, and one is in error.
	got := s.get(st.RequestID)
	if got.Info["replicas"] != "2/3" || got.Pin.Name != "three" {
		t.Errorf("%+v", got)
	}
	contract, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if example := fmt.Sprintf("replicas: '%s'\n", got.Info["replicas"]); !bytes.Contains(contract, []byte(example)) {
		t.Errorf("openapi.yaml has another example of info than %s", example)
	}
	for _, status := range []pinsvc.Status{pinsvc.StatusQueued, pinsvc.StatusPinning, pinsvc.StatusPinned, pinsvc.StatusFailed} {
		page := s.list(pinsvc.Query{Statuses: pinsvc.SetOf(status)})
		if want := status == pinsvc.StatusPinned; (page.Count == 1) != want {
			t.Errorf("status=%s counts %d", status, page.Count)
		}
	}

	other := pinsvctest.RawCID(2)
	for _, p := range peers[1:] {
		p.Node.Fail(other, errors.New("merkledag: malformed"))
	}
	failed := s.add(pinsvc.Pin{CID: other})
	s.becomes(failed.RequestID, pinsvc.StatusFailed) // Two of three gave up, so two cannot hold it.
}

func TestGet_APeerThatDoesNotRespondNeitherFailsPinsNorCostsMuch(t *testing.T) {
	s, peers := newCluster(t)
	var pinned []string
	for i := range 30 {
		for _, p := range peers {
			p.Node.Succeed(pinsvctest.RawCID(i))
		}
		pinned = append(pinned, s.add(pinsvc.Pin{CID: pinsvctest.RawCID(i)}).RequestID)
	}
	for _, id := range pinned {
		s.becomes(id, pinsvc.StatusPinned)
	}
	check := func(what string) {
		t.Helper()
		start := time.Now()
		if got := s.get(pinned[0]); got.Status != pinsvc.StatusPinned {
			t.Errorf("%s: %s", what, got.Status)
		}
		if took := time.Since(start); took > patience {
			t.Errorf("%s: a GET took %s", what, took)
		}
		start = time.Now()
		page := s.list(pinsvc.Query{Limit: 100, Statuses: pinsvc.SetOf(pinsvc.StatusPinned)})
		if page.Count != len(pinned) {
			t.Errorf("%s: %d of %d are pinned", what, page.Count, len(pinned))
		}
		if took := time.Since(start); took > patience {
			t.Errorf("%s: a list took %s", what, took)
		}
	}
	check("all respond")
	peers[2].Tracker.Freeze()
	check("one is frozen")
	// A pin that is made meanwhile is as far as the others have brought it.
	for _, p := range peers[:2] {
		p.Node.Succeed(pinsvctest.RawCID(50))
	}
	fresh := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(50)})
	s.becomes(fresh.RequestID, pinsvc.StatusPinned)
	if err := s.Delete(t.Context(), "", fresh.RequestID); err != nil {
		t.Fatal(err)
	}
	peers[2].Tracker.Thaw()
	check("it is back")
	peers[1].Close()
	check("another has stopped")
}

// A peer that is frozen says nothing of the pins that it is at work on; what
// it had confirmed stays, and it counts again when it is back.
func TestGet_PinsInFlightOnAFrozenPeerStayTruthful(t *testing.T) {
	peers := clustertest.Start(t, 3, clustertest.Options{ReplicationMin: 3, ReplicationMax: 3})
	s := service{newBackend(t, peers[0], clusterrpc.Options{}), t, peers[0]}
	for _, p := range peers {
		p.Node.HoldPins(true)
	}
	done, flying := pinsvctest.RawCID(1), pinsvctest.RawCID(2)
	for _, p := range peers {
		p.Node.Succeed(done)
	}
	pinned := s.add(pinsvc.Pin{CID: done})
	s.becomes(pinned.RequestID, pinsvc.StatusPinned)
	flight := s.add(pinsvc.Pin{CID: flying})
	everyoneHas(t, peers, flying)
	peers[2].Tracker.Freeze()
	for _, p := range peers[:2] {
		p.Node.Succeed(flying)
	}
	await.Success(t, "two of three hold it", func() error {
		if got := s.get(flight.RequestID); got.Status != pinsvc.StatusPinning || got.Info["replicas"] != "2/3" {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	peers[2].Node.Succeed(flying)
	if got := s.get(pinned.RequestID); got.Status != pinsvc.StatusPinned || got.Info["replicas"] != "3/3" {
		t.Errorf("%s %v", got.Status, got.Info)
	}
	if got := s.get(flight.RequestID); got.Status == pinsvc.StatusPinned {
		t.Error("pinned by a peer that said nothing")
	}
	peers[2].Tracker.Thaw()
	s.becomes(flight.RequestID, pinsvc.StatusPinned)
}

// With a state that cannot be read, what is known is returned as it was, as a list does; of anything else nobody can
// say that it is missing.
func TestGet_OfAStateThatFails(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{StatusMaxAge: -1})
	b.becomes(pinned)
	known := b.get(rec.Cid.Cid)
	fake.Fail("Cluster.PinGet", errBroken)
	if st := b.get(rec.Cid.Cid); st.Status != known.Status || st.Pin.Name != known.Pin.Name {
		t.Errorf("%+v, want %+v", st, known)
	}
	_, err := b.Get(t.Context(), "", pinsvctest.RawCID(2).String())
	wantKind(t, "Get of what is not known, without the state", err, pinsvc.KindUnavailable)
	fake.Fail("Cluster.PinGet", nil)
	b.get(rec.Cid.Cid)
	_, err = b.Get(t.Context(), "", pinsvctest.RawCID(2).String())
	wantKind(t, "Get of nothing", err, pinsvc.KindNotFound)
}

// Clients give up at a failure, which may be old news: another record of the pin may be in the state that fails.
func TestGet_OfAStateThatFailsIsNoFailure(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinError, "no"))
	b := ready(t, fake, clusterrpc.Options{MaxPinAttempts: 1})
	b.becomes(pinsvc.StatusFailed)
	fake.Fail("Cluster.PinGet", errBroken)
	_, err := b.Get(t.Context(), "", rec.Cid.String())
	wantKind(t, "Get of a pin that has failed, without the state", err, pinsvc.KindUnavailable)
}

func TestGet_AHangingStateEndsARequestInTime(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{StateTimeout: 20 * time.Millisecond})
	defer fake.Hang("Cluster.PinGet")()
	b.get(rec.Cid.Cid)
	_, err := b.Get(t.Context(), "", pinsvctest.RawCID(2).String())
	wantKind(t, "Get of what is not known", err, pinsvc.KindUnavailable)
	if n := b.count(); n != 1 {
		t.Errorf("what is in memory is not listed: %d pins", n)
	}
}

// C20: a request that is cancelled does not wait for another one of the same pin.
func TestGet_EndsWithItsContextWhileAnotherOfTheSamePinHangs(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{StateTimeout: time.Hour})
	b.becomes(pinned)
	release := fake.Hang("Cluster.PinGet")
	before := fake.Called("Cluster.PinGet")
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := b.Get(t.Context(), "", rec.Cid.String()); err != nil {
			t.Error(err)
		}
	})
	await.True(t, "hanging", func() bool { return fake.Called("Cluster.PinGet") > before })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := b.Get(ctx, "", rec.Cid.String())
	wantKind(t, "Get", err, pinsvc.KindUnavailable)
	release()
	wg.Wait()
}

// What was confirmed is not withdrawn, and no request waits longer than it may.
func TestGet_WaitsForAFrozenTrackerNoLongerThanItMay(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{StatusTimeout: 50 * time.Millisecond})
	defer fake.Hang("PinTracker.Status")()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := b.Get(t.Context(), "", rec.Cid.String()); err != nil || got.Status != pinned {
				t.Errorf("%s, %v: what was confirmed was withdrawn", got.Status, err)
			}
		})
	}
	wg.Wait()
	// Each call that hangs is one goroutine of the RPC library, and ends with the
	// silence of the peer.
	if n := runtime.NumGoroutine() - before; n > 200 {
		t.Errorf("%d more goroutines", n)
	}
}

func TestGet_InFlightIsServedFromMemory(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.InFlight(pinsvctest.RawCID(1))
	rec.Origins = []api.Multiaddr{origin(t, 1)} // Every client sends some.
	fake.Put(rec)
	b := ready(t, fake, clusterrpc.Options{ActivePollInterval: time.Hour})
	b.get(rec.Cid.Cid)
	fake.ResetCalls()
	for range 100 {
		if st := b.get(rec.Cid.Cid); st.Status != pinning || len(st.Pin.Origins) != 1 {
			t.Fatalf("%s, %v", st.Status, st.Pin.Origins)
		}
	}
	for _, method := range []string{"Cluster.PinGet", "PinTracker.Status", "PinTracker.StatusAll"} {
		if n := fake.Called(method); n != 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
}

func TestGet_ShardsAreNoPins(t *testing.T) {
	fake := clusterfake.New()
	shard := fake.Held(pinsvctest.RawCID(1))
	shard.Type, shard.MaxDepth = api.ShardType, 1
	fake.Put(shard)
	b := ready(t, fake, clusterrpc.Options{})
	_, err := b.Get(t.Context(), "", shard.Cid.String())
	wantKind(t, "Get", err, pinsvc.KindNotFound)
	wantKind(t, "Delete", b.Delete(t.Context(), "", shard.Cid.String()), pinsvc.KindNotFound)
	_, err = b.Add(t.Context(), "", pinsvc.Pin{CID: shard.Cid.Cid})
	wantKind(t, "Add", err, pinsvc.KindBadRequest)
	if n := b.count(); n != 0 {
		t.Errorf("%d pins", n)
	}
}

// GET of a pinned pin asks nobody while its confirmation is young. A loss is seen after that,
// what others change or remove at once.
func TestGet_APinnedPinIsAnsweredFromMemoryForAWhile(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	clock := &clusterfake.Clock{}
	b := ready(t, fake, clusterrpc.Options{Now: clock.Now, StatusMaxAge: 10 * time.Second})
	asked := func() int { return fake.Called("PinTracker.Status") + fake.Called("Cluster.PinGet") }
	clock.Advance(time.Minute) // The scan of the start is old by now.
	b.get(rec.Cid.Cid)
	before := asked()
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusUnexpectedlyUnpinned, "lost"))
	for range 9 {
		clock.Advance(time.Second)
		if st := b.get(rec.Cid.Cid); st.Status != pinned || asked() != before {
			t.Fatalf("%s after %d questions", st.Status, asked()-before)
		}
	}
	clock.Advance(time.Second)
	if st := b.get(rec.Cid.Cid); st.Status != pinning || asked() == before {
		t.Errorf("the loss is not seen: %s after %d questions", st.Status, asked()-before)
	}
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	b.get(rec.Cid.Cid)
	rec.Name = "renamed"
	b.changed(rec)
	if st := b.get(rec.Cid.Cid); st.Pin.Name != "renamed" {
		t.Errorf("called %q although the change was announced", st.Pin.Name)
	}
	fake.Remove(rec)
	b.events.Send(clusterrpc.RemovalEvent(rec.Cid))
	_, err := b.Get(t.Context(), "", rec.Cid.String())
	wantKind(t, "Get of what another peer removed", err, pinsvc.KindNotFound)
}

// Content that is pinned after some milliseconds is pinned for a client that polls then,
// although active polls come once a second, and however many clients poll.
func TestGet_AYoungPinIsLookedUpInThisPeersTracker(t *testing.T) {
	fake := clusterfake.New()
	clock := &clusterfake.Clock{}
	b := ready(t, fake, clusterrpc.Options{Now: clock.Now, ActivePollInterval: time.Hour})
	c := pinsvctest.RawCID(1)
	fake.Report(c, clusterfake.Report(api.TrackerStatusPinning, ""))
	b.add(pinsvc.Pin{CID: c})
	await.True(t, "pinning", func() bool { return b.get(c).Status == pinning })
	fake.ResetCalls()
	for range 20 { // 200 ms
		clock.Advance(10 * time.Millisecond)
		for range 64 {
			b.get(c)
		}
	}
	if n := fake.Called("PinTracker.Status"); n < 2 || n > 5 {
		t.Errorf("looked up %d times in 200 ms for 64 clients", n)
	}
	fake.Report(c, clusterfake.Report(api.TrackerStatusPinned, ""))
	clock.Advance(60 * time.Millisecond)
	if st := b.get(c); st.Status != pinned {
		t.Errorf("%s", st.Status)
	}
}
