package clusterrpc_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/adder/sharding"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	cbor "github.com/ipfs/go-ipld-cbor"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// service is one peer whose IPFS node pins at once, and a backend on it.
type service struct {
	*clusterrpc.Backend
	t    *testing.T
	peer *clustertest.Peer
}

func newService(t *testing.T, opts clustertest.Options) service {
	p := clustertest.Start(t, 1, opts)[0]
	return service{newBackend(t, p, clusterrpc.Options{}), t, p}
}

func (s service) add(pin pinsvc.Pin) pinsvc.PinStatus {
	s.t.Helper()
	st, err := s.Add(s.t.Context(), "", pin)
	if err != nil {
		s.t.Fatalf("Add(%s): %v", pin.CID, err)
	}
	return st
}

// counts waits until the view has seen what others did.
func (s service) counts(q pinsvc.Query, want int) {
	s.t.Helper()
	eventually(s.t, "the view has seen it", func() error {
		if page := s.list(q); page.Count != want {
			return fmt.Errorf("%d pins, want %d", page.Count, want)
		}
		return nil
	})
}

func (s service) get(requestID string) pinsvc.PinStatus {
	s.t.Helper()
	st, err := s.Get(s.t.Context(), "", requestID)
	if err != nil {
		s.t.Fatalf("Get(%s): %v", requestID, err)
	}
	return st
}

func (s service) list(q pinsvc.Query) pinsvc.PinResults {
	s.t.Helper()
	if q.Limit == 0 {
		q.Limit = pinsvc.DefaultLimit
	}
	if q.Statuses == 0 {
		q.Statuses = pinsvc.AllStatuses
	}
	page, err := pinsvctest.Results(s.List(s.t.Context(), "", q))
	if err != nil {
		s.t.Fatalf("List: %v", err)
	}
	return page
}

// becomes waits until the pin has the status.
func (s service) becomes(requestID string, want pinsvc.Status) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s is %s", requestID, want), func() error {
		if got := s.get(requestID); got.Status != want {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
}

func TestReplaceWithTheSameCIDKeepsTheContentPinned(t *testing.T) {
	s := newService(t, clustertest.Options{})
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "policy/mfs"})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	for i := range 10 {
		got, err := s.Replace(t.Context(), "", st.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: fmt.Sprint(i)})
		if err != nil || got.Status != pinsvc.StatusPinned || got.RequestID != st.RequestID {
			t.Fatalf("%+v %v", got, err)
		}
		if !s.peer.Node.Has(pinsvctest.RawCID(1)) {
			t.Fatal("the content is unpinned")
		}
	}
}

// TestARenamedPinIsPinnedThroughout polls while the trackers pin it again.
func TestARenamedPinIsPinnedThroughout(t *testing.T) {
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
	trackerSays(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusPinQueued)
}

func TestAPinThatIPFSLostIsServedAndRecovered(t *testing.T) {
	s := newService(t, clustertest.Options{})
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	s.peer.Node.HoldPins(true)
	s.peer.Node.Lose(pinsvctest.RawCID(1))
	trackerSays(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusUnexpectedlyUnpinned)
	if got := s.get(st.RequestID); got.Status != pinsvc.StatusPinning {
		t.Errorf("Get says %s, want pinning", got.Status)
	}
	if page := s.list(pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusPinning)}); page.Count != 1 {
		t.Errorf("%d are listed as pinning", page.Count)
	}
	trackerSays(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusPinning) // It was asked to recover.
	s.peer.Node.HoldPins(false)
	s.becomes(st.RequestID, pinsvc.StatusPinned)
}

func TestAPinnedPinStaysPinnedWhileIPFSIsAway(t *testing.T) {
	s := newService(t, clustertest.Options{})
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(old.RequestID, pinsvc.StatusPinned)
	s.peer.Node.SetAway(true)
	if got := s.get(old.RequestID); got.Status != pinsvc.StatusPinned {
		t.Errorf("%s", got.Status)
	}
	if got := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "renamed"}); got.Status != pinsvc.StatusPinned {
		t.Errorf("renamed: %s", got.Status)
	}
	fresh := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)}) // It is accepted, and kept.
	trackerSays(t, s.peer, pinsvctest.RawCID(2), api.TrackerStatusPinError)
	eventually(t, "the fresh pin says what it waits for", func() error {
		got := s.get(fresh.RequestID)
		if got.Status != pinsvc.StatusQueued || got.Info["status_details"] != "waiting for the IPFS node of a peer: it is unavailable" {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	for _, id := range []string{old.RequestID, fresh.RequestID} {
		got := s.get(id)
		if want := id == old.RequestID; got.Status == pinsvc.StatusFailed || (got.Status == pinsvc.StatusPinned) != want {
			t.Errorf("%s is %s %v", id, got.Status, got.Info)
		}
	}
	eventually(t, "Health says so", func() error {
		if s.Health() == nil {
			return errors.New("well")
		}
		return nil
	})
	s.peer.Node.SetAway(false)
	if err := s.peer.Cluster.RecoverAllLocal(t.Context(), make(chan api.PinInfo, 10)); err != nil {
		t.Fatal(err) // The cluster's own round, which comes every 12 minutes.
	}
	s.becomes(fresh.RequestID, pinsvc.StatusPinned)
	eventually(t, "Health is well", s.Health)
}

func TestAddOfAPinnedCIDSaysPinned(t *testing.T) {
	s := newService(t, clustertest.Options{})
	pinBy(t, s.peer, api.PinWithOpts(api.NewCid(pinsvctest.RawCID(1)), api.PinOptions{Name: "ctl"}))
	trackerSays(t, s.peer, pinsvctest.RawCID(1), api.TrackerStatusPinned)
	if got := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)}); got.Status != pinsvc.StatusPinned {
		t.Errorf("%s", got.Status)
	}
}

func TestAFailedPinSaysWhyAndAReAddStartsAnew(t *testing.T) {
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

// TestPinsOfOneSecondMadeByOtherMeansAreListedOnce is the list that never
// ended: Kubo pages by before, with whole seconds it repeats or loses pins.
func TestPinsOfOneSecondMadeByOtherMeansAreListedOnce(t *testing.T) {
	s := newService(t, clustertest.Options{})
	const n = 40
	for i := range n {
		pinBy(t, s.peer, api.PinWithOpts(api.NewCid(pinsvctest.RawCID(i)), api.PinOptions{}))
	}
	s.counts(pinsvc.Query{}, n)
	seen := make(map[string]bool)
	var before, last time.Time
	for range n {
		page := s.list(pinsvc.Query{Before: before})
		if page.Count != n-len(seen) {
			t.Fatalf("count %d with %d seen", page.Count, len(seen))
		}
		for _, st := range page.Results {
			if seen[st.RequestID] || !last.IsZero() && st.Created.After(last) {
				t.Fatalf("%s of %v is out of place", st.RequestID, st.Created)
			}
			seen[st.RequestID], last = true, st.Created
		}
		if before = last; page.Count == len(page.Results) {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d", len(seen), n)
	}
}

func TestCreatedSurvivesTheClustersOwnPinning(t *testing.T) {
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

// TestCreatedIsNotCopiedByAnUpdate: the cluster copies the metadata of a pin
// to the one that it is updated to.
func TestCreatedIsNotCopiedByAnUpdate(t *testing.T) {
	s := newService(t, clustertest.Options{})
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "old", Meta: map[string]string{"k": "v"}})
	other := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	from, to := api.NewCid(pinsvctest.RawCID(1)), api.NewCid(pinsvctest.RawCID(3))
	if _, err := s.peer.Cluster.PinUpdate(t.Context(), from, to, api.PinOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the update is there", func() error {
		_, err := s.Get(t.Context(), "", to.String())
		return err
	})
	got := s.get(to.String())
	if got.Created.Equal(old.Created) || got.Pin.Meta["k"] != "v" || len(got.Pin.Meta) != 1 {
		t.Errorf("%+v", got)
	}
	// And what is asked for through the service is not made by an update.
	s.add(pinsvc.Pin{CID: to.Cid, Name: "kept"})
	if rec, err := s.peer.Cluster.PinGet(t.Context(), to); err != nil || rec.PinUpdate.Defined() || rec.Name != "kept" {
		t.Errorf("%+v %v", rec, err)
	}
	s.get(other.RequestID)
}

func TestBothFormsOfACIDThatAnotherToolPinnedAreFound(t *testing.T) {
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

func TestConcurrentChangesOfOnePinAreNeverMixed(t *testing.T) {
	s := newService(t, clustertest.Options{})
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			name := fmt.Sprint(i)
			got, err := s.Replace(t.Context(), "", st.RequestID, pinsvc.Pin{
				CID: pinsvctest.RawCID(1), Name: name, Meta: map[string]string{"name": name},
			})
			if err != nil || !got.Created.Equal(st.Created) {
				t.Errorf("%+v %v", got, err)
			}
			if now, err := s.Get(t.Context(), "", st.RequestID); err != nil || now.Pin.Meta["name"] != now.Pin.Name || len(now.Pin.Meta) != 1 {
				t.Errorf("%+v %v", now, err)
			}
		})
	}
	wg.Wait()
}

// TestShardedContentIsOnePin has the records and the index block that the
// cluster's adder makes of sharded content.
func TestShardedContentIsOnePin(t *testing.T) {
	s := newService(t, clustertest.Options{})
	root, shards := pinsvctest.V1CID(1), []cid.Cid{pinsvctest.V1CID(2), pinsvctest.V1CID(3)}
	s.peer.Node.HoldPins(true)
	index := indexOf(t, shards)
	s.peer.Node.PutBlock(index.Cid(), index.RawData())
	shardRecords(t, s.peer, root, index.Cid(), shards)

	s.counts(pinsvc.Query{}, 1)
	if page := s.list(pinsvc.Query{}); page.Results[0].RequestID != root.String() {
		t.Fatalf("%+v", page)
	}
	s.peer.Node.Succeed(index.Cid())
	s.peer.Node.Succeed(shards[0])
	trackerSays(t, s.peer, shards[0], api.TrackerStatusPinned)
	s.becomes(root.String(), pinsvc.StatusPinning)
	s.peer.Node.Succeed(shards[1])
	s.becomes(root.String(), pinsvc.StatusPinned)
	for _, part := range append(slices.Clone(shards), index.Cid()) {
		_, err := s.Get(t.Context(), "", part.String())
		var told *pinsvc.Error
		if !errors.As(err, &told) || told.Kind != pinsvc.KindNotFound {
			t.Errorf("a part can be read: %v", err)
		}
	}
	if got := s.add(pinsvc.Pin{CID: root, Name: "renamed"}); got.Pin.Name != "renamed" || got.Status != pinsvc.StatusPinned {
		t.Errorf("%+v", got)
	}
	if err := s.Delete(t.Context(), "", root.String()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the parts are unpinned", func() error {
		for _, part := range append(slices.Clone(shards), index.Cid()) {
			if s.peer.Node.Has(part) {
				return fmt.Errorf("%s is still there", part)
			}
		}
		return nil
	})
}

// indexOf is the block that lists shards.
func indexOf(t *testing.T, shards []cid.Cid) *cbor.Node {
	t.Helper()
	links := make(map[string]cid.Cid)
	for i, shard := range shards {
		links[fmt.Sprint(i)] = shard
	}
	node, err := cbor.WrapObject(links, multihash.SHA2_256, multihash.DefaultLengths[multihash.SHA2_256])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sharding.CborDataToNode(node.RawData(), "cbor"); err != nil {
		t.Fatal(err)
	}
	return node
}

func shardRecords(t *testing.T, p *clustertest.Peer, root, index cid.Cid, shards []cid.Cid) {
	t.Helper()
	for _, shard := range shards {
		rec := api.PinCid(api.NewCid(shard))
		rec.Type, rec.MaxDepth = api.ShardType, 1
		pinBy(t, p, rec)
	}
	rootKey, indexKey := api.NewCid(root), api.NewCid(index)
	rec := api.PinCid(indexKey)
	rec.Type, rec.MaxDepth, rec.Reference, rec.Mode = api.ClusterDAGType, 0, &rootKey, api.PinModeDirect
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = -1, -1
	pinBy(t, p, rec)
	rec = api.PinCid(rootKey)
	rec.Type, rec.MaxDepth, rec.Reference, rec.Name = api.MetaType, 0, &indexKey, "sharded"
	pinBy(t, p, rec)
}
