package tracking

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// returns fails the test if a call does not return.
func returns(t *testing.T, what string, call func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Fatalf("%s waits", what)
	}
}

// The CRDT tracks what it merges under its lock (U98).
func TestTracker_APinOfAnotherPeerWaitsForNoNode(t *testing.T) {
	const contents = 20
	s := newSetup(t, 1)
	for n := range contents {
		s.ipfs.pins[record(n, "").Cid] = record(n, "")
	}
	release := s.ipfs.blocks()
	for n := range contents {
		pin := elsewhere(record(n, fmt.Sprint(n)))
		s.shared.set(pin)
		returns(t, "a record of a pin of another peer", func() error { return s.Track(t.Context(), pin) })
		returns(t, "another one", func() error { return s.Track(t.Context(), pin) })
	}
	await.True(t, "the node is asked", func() bool { return s.ipfs.waiting() == 1 })
	gone := record(contents, "gone")
	returns(t, "a removal", func() error { return s.Untrack(t.Context(), gone.Cid) })

	for n := range contents {
		c := record(n, "").Cid
		info := s.Status(t.Context(), c)
		if info.Status != api.TrackerStatusRemote || info.Name != fmt.Sprint(n) || info.Error != "" || len(info.Allocations) != 1 {
			t.Fatalf("meanwhile the status is %+v", info)
		}
	}
	if got := s.Status(t.Context(), gone.Cid).Status; got != api.TrackerStatusUnpinQueued {
		t.Errorf("the status of a removed pin is %s", got)
	}
	for filter, want := range map[api.TrackerStatus]int{
		api.TrackerStatusUndefined: contents, api.TrackerStatusRemote: contents, api.TrackerStatusRemote | api.TrackerStatusUnpinning: contents,
		api.TrackerStatusPinned: 0, api.TrackerStatusPinned | api.TrackerStatusUnpinQueued: 0, api.TrackerStatusUnpinning: 0,
		api.TrackerStatusUnpinQueued: 0, api.TrackerStatusError: 0,
	} {
		out := make(chan api.PinInfo, 2*contents)
		must(t, s.StatusAll(t.Context(), filter, out))
		n := 0
		for info := range out {
			if info.Status == api.TrackerStatusRemote {
				n++
			} else if info.Cid != gone.Cid {
				t.Errorf("a list of %s has %+v", filter, info)
			}
		}
		if n != want {
			t.Errorf("a list of %s has %d pins of others, want %d", filter, n, want)
		}
	}
	release()
	await.True(t, "all are unpinned", func() bool { return len(s.ipfs.has()) == 0 })
}

// A pin that comes back to this peer while its removal waits, or is in progress, or was cancelled and is
// carried out by the node late, stays.
func TestTracker_APinThatComesBackStays(t *testing.T) {
	back := func(t *testing.T, s *setup, pin api.Pin) {
		s.shared.set(pin)
		returns(t, "the record that is back", func() error { return s.Track(t.Context(), pin) })
	}
	for name, late := range map[string]bool{"cancelled": false, "carried out late": true} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 2)
			waits, inProgress := record(1, "back"), record(2, "back")
			s.ipfs.pins[waits.Cid] = waits
			release := s.ipfs.blocks()
			if late { // After the pin.
				s.ipfs.late = make(chan struct{})
				inner := release
				release = func() { close(s.ipfs.late); inner() }
			}
			must(t, s.Track(t.Context(), elsewhere(inProgress)))
			await.True(t, "a removal is in progress", func() bool { return s.ipfs.waiting() == 1 })
			must(t, s.Track(t.Context(), elsewhere(waits)))
			back(t, s, waits)
			back(t, s, inProgress)
			await.True(t, "the removal is cancelled", func() bool { return s.ipfs.waiting() == 0 })
			release()
			await.True(t, "both are pinned for certain", func() bool {
				return s.OpContext(t.Context(), waits.Cid) == nil && s.OpContext(t.Context(), inProgress.Cid) == nil
			})
			if got := s.ipfs.has(); len(got) != 2 {
				t.Errorf("pinned are %v", got)
			}
			if s.unanswered.of(inProgress.Cid) != nil {
				t.Error("the request is remembered for ever")
			}
		})
	}
}

func TestTracker_PinsOfOtherPeersThatWaitAreBounded(t *testing.T) {
	const limit, more = 100, 50
	s := newSetup(t, 1)
	s.maxMoved = limit
	release := s.ipfs.blocks()
	own := record(-1, "pinned here until now")
	must(t, s.Track(t.Context(), own))
	must(t, s.Track(t.Context(), elsewhere(record(0, ""))))
	await.True(t, "the node is asked", func() bool { return s.ipfs.waiting() == 1 })
	for n := range limit + more {
		must(t, s.Track(t.Context(), elsewhere(record(1+n, ""))))
	}
	s.mu.Lock()
	waiting := s.moved
	s.mu.Unlock()
	s.notes.Lock()
	givenUp := len(s.givenUp)
	s.notes.Unlock()
	if waiting != limit || givenUp != more {
		t.Errorf("%d wait and %d are given up, want %d and %d", waiting, givenUp, limit, more)
	}
	// What is being pinned here is ended all the same.
	before := s.OpContext(t.Context(), own.Cid)
	must(t, s.Track(t.Context(), elsewhere(own)))
	if before.Err() == nil {
		t.Error("a pin that moved is pinned on")
	}
	release()
	await.True(t, "none waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.unread) == 0 && s.moved == 0 && s.OpContext(t.Context(), own.Cid) == nil
	})
}

// A queue without room is no error of the record, and the pin is looked after.
func TestTracker_APinOfAnotherPeerWithoutRoomIsGivenUp(t *testing.T) {
	s := newSetup(t, 1)
	full := errors.New("full")
	s.Inner = refusing{s.Inner, full}
	pin := elsewhere(record(1, ""))
	must(t, s.Track(t.Context(), pin))
	if s.givenUp[pin.Cid] != 1 {
		t.Errorf("given up are %v", s.givenUp)
	}
	if err := s.Untrack(t.Context(), pin.Cid); !errors.Is(err, full) {
		t.Errorf("a removal returns %v", err)
	}
}

// refusing is a tracker whose queue for removals is full.
type refusing struct {
	Inner
	err error
}

func (r refusing) Untrack(context.Context, api.Cid) error { return r.err }

// A node that does not respond keeps a removal of what others hold for a time only; one of a pin that was
// deleted has the time that is configured.
func TestTracker_ARemovalOfAPinOfAnotherPeerHasALimit(t *testing.T) {
	s := newSetup(t, 1)
	s.removalLimit = 20 * time.Millisecond
	release := s.ipfs.blocks()
	defer release()
	moved, deleted := elsewhere(record(1, "")), record(2, "")
	s.shared.set(moved)
	must(t, s.Track(t.Context(), moved))
	await.True(t, "it is ended", func() bool {
		ctx := s.OpContext(t.Context(), moved.Cid)
		return ctx != nil && ctx.Err() != nil
	})
	if info := s.Status(t.Context(), moved.Cid); info.Status != api.TrackerStatusRemote || info.Error != "" {
		t.Errorf("the status is %+v", info)
	}
	must(t, s.Untrack(t.Context(), deleted.Cid))
	await.True(t, "the node is asked", func() bool { return s.ipfs.waiting() == 1 })
	select {
	case <-s.OpContext(t.Context(), deleted.Cid).Done():
		t.Error("a removal of a deleted pin is ended as well")
	case <-time.After(5 * s.removalLimit): // To see that nothing happens.
	}
}

// A peer that stops waits for no removal.
func TestTracker_ShutdownEndsRemovalsOfPinsOfOtherPeers(t *testing.T) {
	s := newSetup(t, 1)
	defer s.ipfs.blocks()()
	for n := range 10 {
		must(t, s.Track(t.Context(), elsewhere(record(n, ""))))
	}
	await.True(t, "the node is asked", func() bool { return s.ipfs.waiting() == 1 })
	returns(t, "the shutdown", func() error { return s.Shutdown(context.Background()) })
	await.True(t, "the request ends", func() bool { return s.ipfs.waiting() == 0 })
	s.ipfs.mu.Lock()
	defer s.ipfs.mu.Unlock()
	if s.ipfs.ended != 1 {
		t.Errorf("the node was asked %d times", s.ipfs.ended)
	}
}

// Raft tells of each entry in a goroutine of its own, which waits behind one of few locks while another
// one follows the state.
func TestTracker_ARaftPeerLeavesNoGoroutineToWaitForTheNode(t *testing.T) {
	s := newSetup(t, 1)
	defer s.ipfs.blocks()()
	applied := make(chan struct{})
	close(applied)
	raft := raftstate.NewTracker(s.Tracker, func(context.Context) (state.ReadOnly, error) { return s.shared, nil }, applied)
	var wg sync.WaitGroup
	for n := range 500 {
		pin := elsewhere(record(n, ""))
		s.shared.set(pin)
		wg.Go(func() {
			if err := raft.Track(t.Context(), pin); err != nil {
				t.Error(err)
			}
		})
	}
	returns(t, "an entry of Raft", func() error { wg.Wait(); return nil })
	await.True(t, "the node is asked", func() bool { return s.ipfs.waiting() == 1 })
}

// What others are to hold is not removed while this peer may have the only copy, and nothing waits for
// that; what was deleted is. A later record of the pin meets no request that was not sent.
func TestTracker_APinOfAnotherPeerIsKeptWhileItMayBeTheOnlyCopy(t *testing.T) {
	s := newSetup(t, 1)
	failing := errors.New("no answer")
	kept, unknown, held, deleted := record(1, ""), record(2, ""), record(3, ""), record(4, "")
	s.connector.Keep = func(_ context.Context, c api.Cid) (bool, error) {
		switch c {
		case kept.Cid, deleted.Cid:
			return true, nil
		case unknown.Cid:
			return false, failing
		}
		return false, nil
	}
	for _, pin := range []api.Pin{kept, unknown, held, deleted} {
		s.ipfs.pins[pin.Cid] = pin
	}
	for _, pin := range []api.Pin{kept, unknown, held} {
		s.shared.set(elsewhere(pin))
		must(t, s.Track(t.Context(), elsewhere(pin)))
	}
	must(t, s.Untrack(t.Context(), deleted.Cid))
	await.True(t, "two are removed", func() bool { return len(s.ipfs.has()) == 2 })
	pins := s.ipfs.has()
	_, hasKept := pins[kept.Cid]
	if _, hasUnknown := pins[unknown.Cid]; !hasKept || !hasUnknown {
		t.Errorf("the node has %v", pins)
	}
	for _, pin := range []api.Pin{kept, unknown} {
		if info := s.Status(t.Context(), pin.Cid); info.Status != api.TrackerStatusRemote || info.Error != "" {
			t.Errorf("the status is %+v", info)
		}
		if s.unanswered.of(pin.Cid) != nil {
			t.Error("a request is remembered that was not sent")
		}
	}
	s.notes.Lock()
	defer s.notes.Unlock()
	if s.givenUp[unknown.Cid] != 1 || s.givenUp[kept.Cid] != 0 {
		t.Errorf("given up are %v", s.givenUp)
	}
}
