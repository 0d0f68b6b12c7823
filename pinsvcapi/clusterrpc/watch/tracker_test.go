package watch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// TestMain fails when a tracker leaves goroutines behind. Two libraries of the
// cluster start one each when they are loaded.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

const self = peer.ID("self")

// peerState is a shared state with at most one pin, and the tracker beside it.
type peerState struct {
	ipfscluster.PinTracker
	state.ReadOnly

	mu    sync.Mutex
	pin   *api.Pin
	fails error
	// refused is what Track and Untrack return; nil: they do as they are told.
	refused error
	calls   []string
}

func (p *peerState) call(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
	return p.refused
}

func (p *peerState) Track(context.Context, api.Pin) error {
	return p.call("track")
}

func (p *peerState) Untrack(context.Context, api.Cid) error {
	return p.call("untrack")
}

func (p *peerState) Shutdown(context.Context) error { return nil }

func (p *peerState) Get(_ context.Context, c api.Cid) (api.Pin, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails != nil {
		return api.Pin{}, p.fails
	}
	if p.pin == nil {
		return api.Pin{}, state.ErrNotFound
	}
	return *p.pin, nil
}

func (p *peerState) Has(ctx context.Context, c api.Cid) (bool, error) {
	_, err := p.Get(ctx, c)
	return err == nil, nil
}

func (p *peerState) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = err
}

func (p *peerState) set(pin *api.Pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pin = pin
}

// expect compares what the tracker was told until now.
func (p *peerState) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.calls, want) {
		t.Errorf("%s the tracker was told to %v, want %v", when, p.calls, want)
	}
}

func pinOf(t *testing.T) api.Pin {
	c, err := cid.Decode("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
	if err != nil {
		t.Fatal(err)
	}
	pin := api.PinWithOpts(api.NewCid(c), api.PinOptions{ReplicationFactorMin: -1, ReplicationFactorMax: -1})
	pin.Timestamp = time.Unix(1_700_000_000, 0)
	return pin
}

// watched runs f with a tracker in a bubble of time.
func watched(t *testing.T, f func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &peerState{}
		tracker := NewTracker(p, self, func(context.Context) (state.ReadOnly, error) { return p, nil })
		f(t, p, tracker, pinOf(t))
		if err := tracker.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTracker_ATrackAfterARemovalStays(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		_ = tracker.Track(t.Context(), pin)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack", "track")
	})
}

// Raft tells of what it has made in any order.
func TestTracker_ATrackOvertakenByItsRemovalIsUndone(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		_ = tracker.Untrack(t.Context(), pin.Cid)
		_ = tracker.Track(t.Context(), pin)
		time.Sleep(10 * time.Second)
		p.expect(t, "before a CRDT has committed for certain", "untrack", "track")
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack", "track", "untrack")
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		if len(tracker.removals) != 0 {
			t.Error("the removal is remembered for ever")
		}
	})
}

func TestSubscribe_EventsReachSubscribersUntilTheyCancel(t *testing.T) {
	watched(t, func(t *testing.T, _ *peerState, tracker *Tracker, pin api.Pin) {
		var got []clusterrpc.Event
		cancel := tracker.Subscribe(func(e clusterrpc.Event) { got = append(got, e) })
		_ = tracker.Track(t.Context(), pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		cancel()
		_ = tracker.Track(t.Context(), pin)
		want := []clusterrpc.Event{clusterrpc.RecordEvent(pin), {CID: pin.Cid.Cid, Removed: true}}
		if !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

// gated is a tracker whose calls wait at a gate when one is set, as the cluster's
// tracker does for pins of other peers.
type gated struct {
	*peerState
	gate map[string]time.Duration
}

func (g *gated) Track(ctx context.Context, pin api.Pin) error {
	err := g.peerState.Track(ctx, pin)
	time.Sleep(g.gate["track"])
	return err
}

func (g *gated) Untrack(ctx context.Context, c api.Cid) error {
	err := g.peerState.Untrack(ctx, c)
	time.Sleep(g.gate["untrack"])
	return err
}

// whileBlocked runs f with a tracker whose calls take 200 ms.
func whileBlocked(t *testing.T, f func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &peerState{}
		g := &gated{p, map[string]time.Duration{"track": 200 * time.Millisecond, "untrack": 200 * time.Millisecond}}
		tracker := NewTracker(g, self, func(context.Context) (state.ReadOnly, error) { return p, nil })
		f(t, p, tracker, pinOf(t))
		if err := tracker.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// C18: the check of an earlier removal, which still finds the pin, came between the
// call of Untrack and its note, and the content stayed for ever.
func TestTracker_ACheckDuringUntrackLeavesNoContent(t *testing.T) {
	whileBlocked(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		time.Sleep(400 * time.Millisecond) // Its first check comes in 100 ms.
		p.mu.Lock()
		p.calls = nil
		p.mu.Unlock()
		go func() {
			time.Sleep(300 * time.Millisecond)
			p.set(nil) // The commit comes after the hook.
		}()
		_ = tracker.Untrack(t.Context(), pin.Cid)
		time.Sleep(time.Hour)
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := len(p.calls); n == 0 || p.calls[n-1] != "untrack" {
			t.Errorf("in the end the tracker was told to %v, and the state has no pin", p.calls)
		}
	})
}

// C18: the check of an earlier removal read a state without the pin, and its Untrack
// came after a Track of now. The state shows the pin only after Track has returned.
func TestTracker_ACheckDuringTrackUnpinsNothing(t *testing.T) {
	whileBlocked(t, func(t *testing.T, p *peerState, tracker *Tracker, pin api.Pin) {
		p.set(&pin)
		_ = tracker.Untrack(t.Context(), pin.Cid)
		time.Sleep(time.Second) // It is tracked again.
		p.set(nil)
		time.Sleep(1900 * time.Millisecond) // The second check comes in 100 ms.
		p.expect(t, "before", "untrack", "track")
		go func() {
			time.Sleep(400 * time.Millisecond)
			p.set(&pin)
		}()
		_ = tracker.Track(t.Context(), pin)
		time.Sleep(time.Hour)
		p.expect(t, "in the end", "untrack", "track", "track")
	})
}

// The consensus may subscribe and be notified while a call is blocked.
func TestTracker_ABlockedCallHoldsUpNoSubscription(t *testing.T) {
	whileBlocked(t, func(t *testing.T, _ *peerState, tracker *Tracker, pin api.Pin) {
		go func() { _ = tracker.Untrack(t.Context(), pin.Cid) }()
		synctest.Wait()
		began := time.Now()
		tracker.Subscribe(func(clusterrpc.Event) {})()
		if took := time.Since(began); took != 0 {
			t.Errorf("a subscription waited %s", took)
		}
		time.Sleep(time.Second)
	})
}
