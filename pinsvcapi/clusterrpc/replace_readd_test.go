package clusterrpc_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The daemon's consensus: one peer replaces a pin while another, which may not have heard of that, adds the old one again.
// At no moment has a node neither content, and in the end both pins are there, with their contents.
func TestReplace_AReAddElsewhereLeavesNeitherContentUnpinned(t *testing.T) {
	t.Parallel()
	const rounds = 12
	peers := clustertest.Start(t, 2, clustertest.Options{Consensus: daemon.NewCRDT})
	var services []service
	for _, p := range peers {
		services = append(services, service{newBackend(t, p, clusterrpc.Options{WaitsForCommit: true, Consensus: p.State}), t, p})
	}
	// All the time nobody has the new content of the last one, so that no removal takes its old one.
	last := newSwap(t, services, rounds)
	last.replace()
	replaced := 0
	for i := range rounds {
		s := newSwap(t, services, i)
		switch {
		case i == rounds-1: // The removal is on its way. That takes 10 seconds.
			s.replace()
			s.succeed(peers)
			await.True(t, "a node has not the old content", func() bool { return !peers[0].Node.Has(s.old) || !peers[1].Node.Has(s.old) })
			s.addAgain()
		case i%3 == 0: // At once. If the addition is known to peer one before it replaces the pin, that is replaced, too.
			s.succeed(peers)
			atOnce(s.replace, s.addAgain)
			if !s.staysOrIsReplaced() {
				replaced++
				s.end()
				continue
			}
		case i%3 == 1: // The new content is there in the moment of the addition: the removal of the old one runs into it.
			s.replace()
			atOnce(func() { s.succeed(peers) }, s.addAgain)
		default: // The same, and each node in its turn.
			s.replace()
			s.succeed(peers[:1])
			atOnce(func() { s.succeed(peers[1:]) }, s.addAgain)
		}
		s.bothStay()
		s.end()
	}
	atOnce(func() { last.succeed(peers) }, last.addAgain)
	last.bothStay()
	last.end()
	for _, s := range services {
		s.counts(pinsvc.Query{}, 2*(rounds+1)-replaced)
	}
}

// swap is a pin that peer one replaces and peer two adds again. Nobody has the new content before it succeeds.
type swap struct {
	t          *testing.T
	services   []service
	old, fresh cid.Cid
	end        func() // of the look at the nodes
}

// newSwap makes the pin and waits until both nodes have it.
func newSwap(t *testing.T, services []service, n int) *swap {
	t.Helper()
	s := &swap{t: t, services: services, old: pinsvctest.RawCID(100 + n), fresh: pinsvctest.RawCID(200 + n)}
	services[0].add(pinsvc.Pin{CID: s.old, Name: "old"})
	var peers []*clustertest.Peer
	for _, at := range services {
		at.peer.Node.Hold(s.fresh)
		await.True(t, "the old content is pinned", func() bool { return at.peer.Node.Has(s.old) })
		at.becomes(s.old.String(), pinsvc.StatusPinned)
		peers = append(peers, at.peer)
	}
	s.end = neverNeither(t, peers, s.old, s.fresh)
	return s
}

func (s *swap) replace() {
	if _, err := s.services[0].Replace(s.t.Context(), "", s.old.String(), pinsvc.Pin{CID: s.fresh, Name: "new"}); err != nil {
		s.t.Errorf("Replace: %v", err)
	}
}

func (s *swap) addAgain() {
	if _, err := s.services[1].Add(s.t.Context(), "", pinsvc.Pin{CID: s.old, Name: "again"}); err != nil {
		s.t.Errorf("Add: %v", err)
	}
}

func (s *swap) succeed(peers []*clustertest.Peer) {
	for _, p := range peers {
		p.Node.Succeed(s.fresh)
	}
}

// staysOrIsReplaced waits until the new pin is pinned and all agree on the old one, and reports whether that is there.
func (s *swap) staysOrIsReplaced() (stays bool) {
	s.t.Helper()
	await.Success(s.t, "the peers agree", func() error {
		there := 0
		for _, at := range s.services {
			if st, err := at.Get(s.t.Context(), "", s.fresh.String()); err != nil || st.Status != pinsvc.StatusPinned {
				return fmt.Errorf("the new pin is %s, %w", st.Status, err)
			}
			if keeps(s.t, at.peer, at.Backend, s.old) {
				there++
			}
		}
		if stays = there > 0; stays && there < len(s.services) {
			return fmt.Errorf("%d have the old one", there)
		}
		return nil
	})
	return stays
}

// atOnce returns when both have.
func atOnce(f, g func()) {
	var both sync.WaitGroup
	both.Go(f)
	both.Go(g)
	both.Wait()
}

// bothStay waits until all peers have both pins and all nodes both contents, and wants that to stay.
func (s *swap) bothStay() {
	s.t.Helper()
	const kept = 100 * time.Millisecond // What is still on its way would be here by then.
	var since time.Time
	await.Success(s.t, "both pins and contents are there", func() error {
		for _, at := range s.services {
			for _, c := range []cid.Cid{s.old, s.fresh} {
				st, err := at.Get(s.t.Context(), "", c.String())
				if err == nil && (st.Status != pinsvc.StatusPinned || !at.peer.Node.Has(c)) {
					err = fmt.Errorf("%s is %s, and its content is there: %t", c, st.Status, at.peer.Node.Has(c))
				}
				if err != nil {
					since = time.Time{}
					return err
				}
			}
		}
		if since.IsZero() {
			since = time.Now()
		}
		if was := time.Since(since); was < kept {
			return fmt.Errorf("for %s so far", was)
		}
		return nil
	})
}

// neverNeither looks again and again whether each node has one of the contents, until end.
func neverNeither(t *testing.T, peers []*clustertest.Peer, old, fresh cid.Cid) (end func()) {
	t.Helper()
	samples, without := 0, 0
	stop := await.Meanwhile(t, 200*time.Microsecond, func() bool {
		for i, p := range peers {
			samples++
			if p.Node.Has(old) {
				continue
			}
			// Nobody removes the new content, so that what is not there now was not there then.
			if without++; !p.Node.Has(fresh) {
				t.Errorf("node %d has neither content", i)
				return false
			}
		}
		return true
	})
	return func() {
		t.Helper()
		stop()
		if t.Logf("%d samples, %d of them without the old content", samples, without); samples == 0 {
			t.Error("nobody has looked")
		}
	}
}
