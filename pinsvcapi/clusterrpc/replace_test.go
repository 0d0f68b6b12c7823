package clusterrpc_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
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

func TestReplace_HalfOfItIsRolledBackAndNoSuccess(t *testing.T) {
	for name, other := range map[string]bool{"a new CID": false, "a CID that is held": true} {
		t.Run(name, func(t *testing.T) {
			fake := clusterfake.New()
			old := fake.Held(pinsvctest.RawCID(1))
			if other {
				fake.Held(pinsvctest.RawCID(2))
			}
			b := ready(t, fake, clusterrpc.Options{})
			fake.Fail("Consensus.LogUnpin of "+old.Cid.String(), errBroken)
			_, err := b.Replace(t.Context(), "", old.Cid.String(), pinsvc.Pin{CID: pinsvctest.RawCID(2), Name: "new"})
			wantKind(t, "Replace", err, pinsvc.KindUnavailable)
			if _, ok := fake.Record(old.Cid.Cid); !ok {
				t.Error("the old pin is gone")
			}
			if rec, ok := fake.Record(pinsvctest.RawCID(2)); ok != other || ok && rec.Name != "held" {
				t.Errorf("the new pin is there: %t, called %q", ok, rec.Name)
			}
		})
	}
}
