package clusterrpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// services are backends on the peers of one cluster.
func services(t *testing.T, n int, opts clustertest.Options) []service {
	t.Helper()
	return servicesWith(t, n, opts, clusterrpc.Options{})
}

// unhurried are services that poll as rarely as in production: polls of all peers on every GET would
// leave no processor to the news of a pin.
func unhurried(t *testing.T, n int, opts clustertest.Options) []service {
	t.Helper()
	return servicesWith(t, n, opts, clusterrpc.Options{ActivePollInterval: clusterrpc.DefaultActivePollInterval})
}

func servicesWith(t *testing.T, n int, opts clustertest.Options, backend clusterrpc.Options) []service {
	t.Helper()
	var all []service
	for i, p := range clustertest.Start(t, n, opts) {
		p.Node.SetAddresses(fmt.Sprintf("/ip4/1.2.3.%d/tcp/4001", i+1))
		all = append(all, service{newBackend(t, p, backend), t, p})
	}
	return all
}

// C5: POST at one peer, and GET at another at once.
func TestGet_AtAnotherPeerAtOnce(t *testing.T) {
	for name, opts := range map[string]clustertest.Options{"ours": {}, "upstream": {UpstreamPolicy: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 300
			if opts.UpstreamPolicy {
				n = 100
			}
			readsItsWrites(t, unhurried(t, 3, opts), n)
		})
	}
}

// readsItsWrites makes n pins and reads each at another peer. There is no 404 ever. 503 and answers
// that come late are only accepted while the machine leaves this process without a processor.
func readsItsWrites(t *testing.T, peers []service, n int) {
	late := 0
	for i := range n {
		c := pinsvctest.RawCID(i)
		at, elsewhere := peers[i%3], peers[(i+1+i/3%2)%3]
		at.add(pinsvc.Pin{CID: c, Name: fmt.Sprint(i)})
		st, excused, err := unlessStarved(t, fmt.Sprintf("pin %d", i), func() (pinsvc.PinStatus, error) { return elsewhere.Get(t.Context(), "", c.String()) })
		if err != nil {
			t.Fatalf("pin %d at another peer: %v", i, err)
		}
		if excused {
			late++
		}
		if st.Pin.Name != fmt.Sprint(i) || st.RequestID != c.String() || len(st.Delegates) == 0 {
			t.Fatalf("pin %d at another peer: %+v", i, st)
		}
	}
	if late > n/10 {
		t.Errorf("%d of %d pins came late: the machine is too busy to tell anything", late, n)
	}
}

func TestDelete_AtAnotherPeerAtOnce(t *testing.T) {
	peers := unhurried(t, 3, clustertest.Options{})
	for i := range 100 {
		c := pinsvctest.RawCID(i)
		peers[i%3].add(pinsvc.Pin{CID: c})
		other := peers[(i+1)%3]
		_, excused, err := unlessStarved(t, fmt.Sprintf("delete of pin %d", i), func() (struct{}, error) {
			return struct{}{}, other.Delete(t.Context(), "", c.String())
		})
		if err != nil && !(excused && pinsvc.KindOf(err) == pinsvc.KindNotFound) { // The first one took effect.
			t.Fatalf("pin %d: %v", i, err)
		}
		// Read your deletes, although the peer that made the pin may still have it.
		if _, err := other.Get(t.Context(), "", c.String()); pinsvc.KindOf(err) != pinsvc.KindNotFound {
			t.Fatalf("pin %d was removed here: %v", i, err)
		}
		wantKind(t, "a second Delete", other.Delete(t.Context(), "", c.String()), pinsvc.KindNotFound)
	}
	for i, p := range peers {
		await.Success(t, fmt.Sprintf("all is removed at peer %d", i), func() error {
			if n := p.list(pinsvc.Query{}).Count; n != 0 {
				return fmt.Errorf("%d pins", n)
			}
			return nil
		})
	}
}

func TestReplaceAndList_AtAnotherPeerAtOnce(t *testing.T) {
	peers := unhurried(t, 3, clustertest.Options{})
	for i := range 30 {
		a, b := pinsvctest.RawCID(2*i), pinsvctest.RawCID(2*i+1)
		peers[i%3].add(pinsvc.Pin{CID: a})
		other := peers[(i+1)%3]
		page, _, err := unlessStarved(t, fmt.Sprintf("list of pin %d", i), func() (pinsvc.Page, error) {
			return other.List(t.Context(), "", pinsvc.Query{CIDs: []cid.Cid{a}, Statuses: pinsvc.AllStatuses, Limit: 1})
		})
		if err != nil || page.Count != 1 {
			t.Fatalf("pin %d: a list with its CID has %d: %v", i, page.Count, err)
		}
		if _, err := other.Replace(t.Context(), "", a.String(), pinsvc.Pin{CID: b}); err != nil {
			t.Fatalf("pin %d: %v", i, err)
		}
	}
	c := pinsvctest.RawCID(1000)
	peers[0].add(pinsvc.Pin{CID: c})
	if _, err := peers[1].Replace(t.Context(), "", c.String(), pinsvc.Pin{CID: c, Name: "new"}); err != nil {
		t.Fatal(err)
	}
}

// Guesses get 404 within 2 s, and 429 when there are many; pins that are made elsewhere are found
// all the same.
func TestGet_UnknownCIDs(t *testing.T) {
	peers := services(t, 3, clustertest.Options{})
	here := peers[0]
	began := time.Now()
	_, err := here.Get(t.Context(), "", pinsvctest.V0CID(0).String())
	wantKind(t, "Get of an unknown CID", err, pinsvc.KindNotFound)
	wantKind(t, "Delete of an unknown CID", here.Delete(t.Context(), "", pinsvctest.RawCID(0).String()), pinsvc.KindNotFound)
	if page := here.list(pinsvc.Query{CIDs: []cid.Cid{pinsvctest.RawCID(0)}}); page.Count != 0 {
		t.Errorf("%d pins with an unknown CID", page.Count)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}

	var wg sync.WaitGroup
	var mu sync.Mutex
	kinds := make(map[pinsvc.Kind]int)
	var retryAfter time.Duration
	few := make(chan struct{}, 8)
	for i := range 2000 {
		// The first have the processor almost for themselves, all others come at once.
		if few <- struct{}{}; i >= 100 {
			<-few
		}
		wg.Go(func() {
			if i < 100 {
				defer func() { <-few }()
			}
			_, err := here.Get(t.Context(), "mallory", pinsvctest.RawCID(10_000+i).String())
			mu.Lock()
			defer mu.Unlock()
			kinds[pinsvc.KindOf(err)]++
			if failure, ok := err.(*pinsvc.Error); ok && failure.Kind == pinsvc.KindTooManyRequests {
				retryAfter = failure.RetryAfter
			}
		})
	}
	wg.Wait()
	t.Logf("2,000 guesses: %v", kinds)
	if kinds[pinsvc.KindNotFound] == 0 || kinds[pinsvc.KindTooManyRequests] == 0 || retryAfter <= 0 ||
		kinds[pinsvc.KindNotFound]+kinds[pinsvc.KindTooManyRequests]+kinds[pinsvc.KindUnavailable] != 2000 {
		t.Errorf("kinds %v, Retry-After %s", kinds, retryAfter)
	}
	for i := range 20 {
		c := pinsvctest.RawCID(i)
		peers[1].add(pinsvc.Pin{CID: c})
		for _, user := range []pinsvc.User{"mallory", "alice"} {
			if _, err := here.Get(t.Context(), user, c.String()); err != nil {
				t.Errorf("%s reads a pin that was made elsewhere: %v", user, err)
			}
		}
	}
}

// A pin that is here costs no call to another peer.
func TestGet_OfAKnownPinAsksNobody(t *testing.T) {
	peers := services(t, 2, clustertest.Options{})
	c := pinsvctest.RawCID(1)
	peers[0].add(pinsvc.Pin{CID: c})
	everyoneHas(t, []*clustertest.Peer{peers[0].peer, peers[1].peer}, c)
	peers[1].counts(pinsvc.Query{}, 1)
	before := peers[1].RemoteReads()
	for range 100 {
		peers[1].get(c.String())
		peers[1].list(pinsvc.Query{CIDs: []cid.Cid{c}})
	}
	if after := peers[1].RemoteReads(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v, before %v", after, before)
	}
}

// Nobody gossips: the pin does not arrive.
func TestGet_APinThatDoesNotArrive(t *testing.T) {
	peers := services(t, 3, clustertest.Options{})
	c := pinsvctest.V1CID(1)
	late := peers[0]
	late.peer.State.HoldUpdates(true)
	created := peers[1].add(pinsvc.Pin{CID: c, Name: "far", Meta: map[string]string{"a": "b"}}).Created
	st := late.get(pinsvctest.V0CID(1).String())
	if st.Status != pinsvc.StatusQueued || st.Pin.Name != "far" || !st.Created.Equal(created) || st.Pin.Meta["a"] != "b" {
		t.Errorf("%+v, want the record of the other peer, queued", st)
	}
	wantKind(t, "Delete", late.Delete(t.Context(), "", c.String()), pinsvc.KindUnavailable)
	_, err := late.Replace(t.Context(), "", c.String(), pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	wantKind(t, "Replace", err, pinsvc.KindUnavailable)
	_, err = late.List(t.Context(), "", pinsvc.Query{CIDs: []cid.Cid{c}, Limit: 1, Statuses: pinsvc.AllStatuses})
	wantKind(t, "List", err, pinsvc.KindUnavailable)
	late.peer.State.HoldUpdates(false)
	late.becomes(c.String(), pinsvc.StatusPinned)
}

// A client reads what another peer has and changes it here: the change is one of that record.
// Made without it, either of the two could win on all peers.
func TestAdd_OfAPinThatWasReadFromAnotherPeer(t *testing.T) {
	peers := services(t, 2, clustertest.Options{})
	c, other := pinsvctest.RawCID(1), pinsvctest.RawCID(2)
	late := peers[0]
	late.add(pinsvc.Pin{CID: other})
	late.peer.State.HoldUpdates(true)
	created := peers[1].add(pinsvc.Pin{CID: c, Name: "before"}).Created
	if st := late.get(c.String()); st.Pin.Name != "before" {
		t.Fatalf("%+v", st)
	}
	_, err := late.Add(t.Context(), "", pinsvc.Pin{CID: c, Name: "after"})
	wantKind(t, "Add before the record has arrived", err, pinsvc.KindUnavailable)
	late.add(pinsvc.Pin{CID: pinsvctest.RawCID(3)}) // Others do not wait.
	late.peer.State.HoldUpdates(false)
	if st := late.add(pinsvc.Pin{CID: c, Name: "after"}); st.Pin.Name != "after" || !st.Created.Equal(created) {
		t.Errorf("%+v, want the same pin with another name", st)
	}
	for i, p := range peers {
		await.Success(t, fmt.Sprintf("the change is at peer %d", i), func() error {
			if name := p.get(c.String()).Pin.Name; name != "after" {
				return fmt.Errorf("name %q", name)
			}
			return nil
		})
	}
}

// While a peer is alive and does not answer, nothing is known; once its ping is gone, 404 stands.
func TestGet_APeerThatIsGone(t *testing.T) {
	peers := services(t, 3, clustertest.Options{})
	_ = peers[2].peer.Host.Network().Close() // Its ping is valid for some seconds more.
	c := pinsvctest.RawCID(1)
	began := time.Now()
	_, err := peers[0].Get(t.Context(), "", c.String())
	wantKind(t, "Get while a peer does not answer", err, pinsvc.KindUnavailable)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for pinsvc.KindOf(err) != pinsvc.KindNotFound {
		if ctx.Err() != nil {
			t.Fatalf("it never comes to 404: %v", err)
		}
		_, err = peers[0].Get(ctx, "", c.String())
	}
	peers[1].add(pinsvc.Pin{CID: c})
	if _, err := peers[0].Get(t.Context(), "", c.String()); err != nil {
		t.Errorf("a pin of a living peer: %v", err)
	}
}

// A peer that has just started has heard nothing of the others yet: of a pin that one of them may have
// accepted while it was away it says nothing, until there was time to hear of those that live.
func TestGet_RightAfterAStart(t *testing.T) {
	p := clustertest.Start(t, 1, clustertest.Options{})[0]
	gone := clusterfake.Other()
	get := func(b *clusterrpc.Backend) error {
		_, err := b.Get(t.Context(), "", pinsvctest.RawCID(1).String())
		return err
	}
	b := newBackend(t, p, clusterrpc.Options{Expected: []peer.ID{gone}, PingInterval: time.Hour})
	wantKind(t, "Get", get(b), pinsvc.KindUnavailable)
	b = newBackend(t, p, clusterrpc.Options{Expected: []peer.ID{gone}, PingInterval: 3 * time.Second})
	await.Success(t, "the pin is unknown", func() error {
		if err := get(b); pinsvc.KindOf(err) != pinsvc.KindNotFound {
			return err
		}
		return nil
	})
	b = newBackend(t, p, clusterrpc.Options{PingInterval: time.Hour})
	wantKind(t, "Get at the only peer", get(b), pinsvc.KindNotFound)
}

// Kubo gives up at the first "failed": a peer that has not heard of a re-add does not say it.
func TestGet_OldFailureAtAnotherPeerAfterAReAdd(t *testing.T) {
	for name, opts := range map[string]clustertest.Options{
		"everywhere": {}, "allocated": {ReplicationMin: 1, ReplicationMax: 1}, "upstream": {UpstreamPolicy: true},
	} {
		t.Run(name, func(t *testing.T) {
			const pins = 30
			peers := services(t, 3, opts)
			for _, p := range peers {
				p.peer.Node.HoldPins(true)
			}
			for i := range pins {
				c := pinsvctest.RawCID(i)
				for _, p := range peers {
					p.peer.Node.Fail(c, errors.New("merkledag: malformed"))
				}
				peers[0].add(pinsvc.Pin{CID: c, Name: "before"})
			}
			last := peers[0].get(pinsvctest.RawCID(pins - 1).String()).Created
			for i := range pins {
				for _, p := range peers {
					p.becomes(pinsvctest.RawCID(i).String(), pinsvc.StatusFailed)
					p.peer.Node.Undecided(pinsvctest.RawCID(i))
				}
			}
			await.Success(t, "records have another second", func() error {
				if time.Since(last) < 1100*time.Millisecond {
					return errors.New("too early")
				}
				return nil
			})
			for i := range pins {
				c := pinsvctest.RawCID(i)
				at, elsewhere := peers[i%3], peers[(i+1)%3]
				at.add(pinsvc.Pin{CID: c, Name: "after"})
				if st := elsewhere.get(c.String()); st.Status == pinsvc.StatusFailed || st.Pin.Name != "after" {
					t.Fatalf("pin %d is %s (%s) at another peer right after the re-add", i, st.Status, st.Pin.Name)
				}
				if page := peers[(i+2)%3].list(pinsvc.Query{CIDs: []cid.Cid{c}}); page.Count != 1 || page.Results[0].Status == pinsvc.StatusFailed {
					t.Fatalf("pin %d is %v in a list of the third peer", i, page.Results)
				}
			}
		})
	}
}
