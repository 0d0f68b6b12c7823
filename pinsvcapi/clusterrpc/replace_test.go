package clusterrpc_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestReplace_WithTheSameCIDKeepsTheContentPinned(t *testing.T) {
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

func TestReplace_ConcurrentChangesOfOnePinAreNeverMixed(t *testing.T) {
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

// What is replaced at one peer is so at all: in lists, counts and by request ID.
func TestReplace_IsTheSameAtEveryPeer(t *testing.T) {
	t.Parallel()
	peers := clustertest.Start(t, 2, clustertest.Options{})
	one, two := replacePeer(t, peers[0]), replacePeer(t, peers[1])
	for _, p := range peers {
		p.Node.Hold(pinsvctest.RawCID(2))
	}
	old := one.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "files"})
	two.becomes(old.RequestID, pinsvc.StatusPinned)
	st, err := one.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2), Name: "files"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []service{one, two} {
		await.Success(t, "the new pin is there alone", func() error {
			page := s.list(pinsvc.Query{Name: "files"})
			if page.Count != 1 || page.Results[0].RequestID != st.RequestID || page.Results[0].Info[clusterrpc.InfoKept] != old.RequestID {
				return fmt.Errorf("%+v", page)
			}
			return nil
		})
		_, err := s.Get(t.Context(), "", old.RequestID)
		wantKind(t, "Get", err, pinsvc.KindNotFound)
		wantKind(t, "Delete", s.Delete(t.Context(), "", old.RequestID), pinsvc.KindNotFound)
	}
	for _, p := range peers {
		if !p.Node.Has(pinsvctest.RawCID(1)) {
			t.Error("the old content is unpinned")
		}
		p.Node.Succeed(pinsvctest.RawCID(2))
	}
	for _, p := range peers {
		await.Success(t, "the old content is unpinned", func() error {
			if p.Node.Has(pinsvctest.RawCID(1)) {
				return errors.New("it is not")
			}
			return nil
		})
	}
	for _, s := range []service{one, two} {
		if page := s.list(pinsvc.Query{}); page.Count != 1 {
			t.Errorf("%d pins", page.Count)
		}
	}
}

// Both replace one pin by something else: both new pins are there, and the old content stays until
// both are pinned.
func TestReplace_AtTwoPeersAtOnce(t *testing.T) {
	t.Parallel()
	peers := clustertest.Start(t, 2, clustertest.Options{})
	services := []service{replacePeer(t, peers[0]), replacePeer(t, peers[1])}
	old := services[0].add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	services[1].becomes(old.RequestID, pinsvc.StatusPinned)
	for _, p := range peers {
		p.Node.Hold(pinsvctest.RawCID(2))
		p.Node.Hold(pinsvctest.RawCID(3))
	}
	var wg sync.WaitGroup
	var accepted [2]bool
	for i, s := range services {
		wg.Go(func() {
			_, err := s.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2 + i)})
			if accepted[i] = err == nil; err != nil {
				wantKind(t, "Replace", err, pinsvc.KindNotFound) // The other was faster.
			}
		})
	}
	wg.Wait()
	want := 0
	for _, ok := range accepted {
		if ok {
			want++
		}
	}
	for _, s := range services {
		s.counts(pinsvc.Query{}, want)
	}
	for i, ok := range accepted {
		if !ok {
			continue
		}
		for _, p := range peers {
			if !p.Node.Has(pinsvctest.RawCID(1)) {
				t.Error("the old content is unpinned before all that replaced it are pinned")
			}
			p.Node.Succeed(pinsvctest.RawCID(2 + i))
		}
		services[0].becomes(pinsvctest.RawCID(2+i).String(), pinsvc.StatusPinned)
	}
	await.Success(t, "the old content is unpinned", func() error {
		if peers[0].Node.Has(pinsvctest.RawCID(1)) || peers[1].Node.Has(pinsvctest.RawCID(1)) {
			return errors.New("it is not")
		}
		return nil
	})
}

// A peer that has not heard of the replacement accepts the old pin again. Its word stands.
func TestReplace_OfAPinThatIsAddedAgainElsewhere(t *testing.T) {
	t.Parallel()
	peers := clustertest.Start(t, 2, clustertest.Options{})
	one, two := replacePeer(t, peers[0]), replacePeer(t, peers[1])
	for i := range 5 {
		pin := pinsvc.Pin{CID: pinsvctest.RawCID(10 + i)}
		fresh := pinsvctest.RawCID(20 + i)
		st := one.add(pin)
		two.becomes(st.RequestID, pinsvc.StatusPinned)
		one.becomes(st.RequestID, pinsvc.StatusPinned)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = one.Replace(t.Context(), "", st.RequestID, pinsvc.Pin{CID: fresh}) })
		wg.Go(func() {
			if _, err := two.Add(t.Context(), "", pin); err != nil {
				t.Errorf("Add: %v", err)
			}
		})
		wg.Wait()
		one.becomes(fresh.String(), pinsvc.StatusPinned)
		for _, s := range []service{one, two} {
			await.Success(t, "the pin that was added again is there", func() error {
				_, err := s.Get(t.Context(), "", st.RequestID)
				return err
			})
		}
	}
	// A peer that has not heard of the addition in time unpins what was replaced, and pins it again.
	for i := range 5 {
		for _, p := range peers {
			await.Success(t, "the content of the pins that were added again", func() error {
				if !p.Node.Has(pinsvctest.RawCID(10 + i)) {
					return fmt.Errorf("that of pin %d is gone", i)
				}
				return nil
			})
		}
	}
	one.counts(pinsvc.Query{}, 10)
	two.counts(pinsvc.Query{}, 10)
}

// The cluster's own update copies all metadata to the new pin. They say nothing there.
func TestReplace_UpdateByAnotherToolIsNone(t *testing.T) {
	s := newService(t, clustertest.Options{})
	s.peer.Node.Hold(pinsvctest.RawCID(2))
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(old.RequestID, pinsvc.StatusPinned)
	if _, err := s.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2)}); err != nil {
		t.Fatal(err)
	}
	updated := api.PinOptions{PinUpdate: api.NewCid(pinsvctest.RawCID(2))}
	if _, err := s.peer.Cluster.PinUpdate(t.Context(), api.NewCid(pinsvctest.RawCID(2)), api.NewCid(pinsvctest.RawCID(3)), updated); err != nil {
		t.Fatal(err)
	}
	s.becomes(pinsvctest.RawCID(3).String(), pinsvc.StatusPinned)
	if kept := s.get(pinsvctest.RawCID(3).String()).Info[clusterrpc.InfoKept]; kept != "" {
		t.Errorf("the updated pin keeps %q", kept)
	}
	if kept := s.get(pinsvctest.RawCID(2).String()).Info[clusterrpc.InfoKept]; kept != old.RequestID {
		t.Errorf("the new pin keeps %q", kept)
	}
	if !s.peer.Node.Has(pinsvctest.RawCID(1)) {
		t.Error("the old content is unpinned")
	}
}

// Another tool removes the new pin: nobody has taken the place of the old one.
func TestReplace_TheNewPinIsRemovedByAnotherTool(t *testing.T) {
	t.Parallel()
	s := newService(t, clustertest.Options{})
	s.peer.Node.Hold(pinsvctest.RawCID(2))
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "old"})
	s.becomes(old.RequestID, pinsvc.StatusPinned)
	if _, err := s.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.peer.Cluster.Unpin(t.Context(), api.NewCid(pinsvctest.RawCID(2))); err != nil {
		t.Fatal(err)
	}
	await.Success(t, "the old pin comes back", func() error {
		page := s.list(pinsvc.Query{})
		if page.Count != 1 || page.Results[0].Pin.Name != "old" {
			return fmt.Errorf("%+v", page)
		}
		return nil
	})
	s.becomes(old.RequestID, pinsvc.StatusPinned)
}

// Pins that have failed are tried again when they are added again, and release what they keep.
func TestReplace_AFailedPinThatSucceedsInTheEnd(t *testing.T) {
	t.Parallel()
	s := newService(t, clustertest.Options{})
	s.peer.Node.Fail(pinsvctest.RawCID(2), errors.New("merkledag: malformed"))
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(old.RequestID, pinsvc.StatusPinned)
	st, err := s.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	if err != nil {
		t.Fatal(err)
	}
	s.becomes(st.RequestID, pinsvc.StatusFailed)
	s.peer.Node.Succeed(pinsvctest.RawCID(2))
	again := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2), Name: "again"})
	if again.Info[clusterrpc.InfoKept] != old.RequestID || !s.peer.Node.Has(pinsvctest.RawCID(1)) {
		t.Errorf("%+v", again)
	}
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	await.Success(t, "the old content is unpinned", func() error {
		if s.peer.Node.Has(pinsvctest.RawCID(1)) {
			return errors.New("it is not")
		}
		return nil
	})
}

func TestReplace_ManyPinsByOne(t *testing.T) {
	t.Parallel()
	s := newService(t, clustertest.Options{})
	s.peer.Node.Hold(pinsvctest.RawCID(0))
	for i := 1; i <= 65; i++ {
		st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(i)})
		_, err := s.Replace(t.Context(), "", st.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(0)})
		if i <= 64 && err != nil {
			t.Fatal(err)
		} else if i == 65 {
			wantKind(t, "the 65th", err, pinsvc.KindBadRequest)
			s.get(st.RequestID)
		}
	}
	s.peer.Node.Succeed(pinsvctest.RawCID(0))
	s.becomes(pinsvctest.RawCID(0).String(), pinsvc.StatusPinned)
	await.Success(t, "all are unpinned", func() error {
		for i := 1; i <= 64; i++ {
			if s.peer.Node.Has(pinsvctest.RawCID(i)) {
				return fmt.Errorf("%d is not", i)
			}
		}
		return nil
	})
	s.counts(pinsvc.Query{}, 2)
}

// What a pin has replaced and is unpinned counts no more, although its record names it for a while.
func TestReplace_ManyPinsByOneThatIsPinned(t *testing.T) {
	t.Parallel()
	s := newService(t, clustertest.Options{})
	kept := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(0)})
	s.becomes(kept.RequestID, pinsvc.StatusPinned)
	for _, batch := range [][2]int{{1, 40}, {41, 80}} {
		for i := batch[0]; i <= batch[1]; i++ {
			st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(i)})
			if _, err := s.Replace(t.Context(), "", st.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(0)}); err != nil {
				t.Fatalf("the %dth: %v", i, err)
			}
		}
		await.Success(t, "all are unpinned", func() error {
			for i := batch[0]; i <= batch[1]; i++ {
				if _, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(i))); err == nil {
					return fmt.Errorf("%d is not", i)
				}
			}
			return nil
		})
	}
	s.counts(pinsvc.Query{}, 1)
}

// A chain that is longer than a record has room for.
func TestReplace_LongChain(t *testing.T) {
	s := newService(t, clustertest.Options{})
	s.peer.Node.HoldPins(true)
	s.peer.Node.Succeed(pinsvctest.RawCID(0))
	st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(0)})
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	for i := 1; i <= 80; i++ {
		var err error
		if st, err = s.Replace(t.Context(), "", st.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(i)}); err != nil {
			t.Fatal(err)
		}
	}
	s.counts(pinsvc.Query{}, 1)
	if kept := s.get(st.RequestID).Info[clusterrpc.InfoKept]; !strings.HasSuffix(kept, "and 70 more") {
		t.Errorf("it keeps %s", kept)
	}
	if !s.peer.Node.Has(pinsvctest.RawCID(0)) {
		t.Error("the content of the first is unpinned")
	}
	if err := s.Delete(t.Context(), "", st.RequestID); err != nil {
		t.Fatal(err)
	}
	s.counts(pinsvc.Query{}, 0)
	for i := range 81 {
		if _, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(i))); err == nil {
			t.Errorf("pin %d is still in the state", i)
		}
	}
}

// replacePeer is a backend on one of several peers.
func replacePeer(t *testing.T, p *clustertest.Peer) service {
	return service{newBackend(t, p, clusterrpc.Options{}), t, p}
}
