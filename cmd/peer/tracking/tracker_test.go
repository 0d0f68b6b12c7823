package tracking

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Upstream's tracker replaces the record of a pin while its worker reads it, when a pin is added
// or removed again in the moment in which that begins (U56). The race detector sees it.
func TestTracker_NoRecordIsReplacedWhileAWorkerReadsIt(t *testing.T) {
	const contents, callers, calls = 8, 4, 2000
	s := newSetup(t, 4)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(caller)))
			for i := range calls {
				pin := record(rng.IntN(contents), fmt.Sprint(i))
				var err error
				switch rng.IntN(8) {
				case 0, 1:
					err = s.Untrack(t.Context(), pin.Cid)
				case 2:
					err = s.Track(t.Context(), elsewhere(pin))
				case 3:
					_, err = s.Recover(t.Context(), pin.Cid)
				default:
					pin.Origins = make([]api.Multiaddr, rng.IntN(3))
					s.shared.set(pin)
					err = s.Track(t.Context(), pin)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range contents {
		pin := record(n, "last")
		must(t, s.Untrack(t.Context(), pin.Cid))
		must(t, s.Track(t.Context(), pin))
	}
	await.True(t, "the last records are pinned", func() bool {
		for _, pin := range s.ipfs.has() {
			if pin.Name != "last" {
				return false
			}
		}
		return len(s.ipfs.has()) == contents
	})
	await.True(t, "nothing is kept", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.unread) == 0 && s.held == 0 && s.moved == 0
	})
}

// The record that came last is pinned, and shown before that.
func TestTracker_TheNewestRecordIsPinned(t *testing.T) {
	s := newSetup(t, 1)
	release := s.ipfs.blocks()
	busy, pin := record(0, "busy"), record(1, "first")
	pin.MaxDepth = 0
	must(t, s.Track(t.Context(), busy))
	await.True(t, "the worker is busy", func() bool { return s.Status(t.Context(), busy.Cid).Status == api.TrackerStatusPinning })
	must(t, s.Track(t.Context(), pin))
	for _, name := range []string{"second", "third"} {
		pin = record(1, name)
		pin.Allocations, pin.Metadata = []peer.ID{self}, map[string]string{"name": name}
		must(t, s.Track(t.Context(), pin))
	}
	info := s.Status(t.Context(), pin.Cid)
	if info.Status != api.TrackerStatusPinQueued || info.Name != "third" || info.Metadata["name"] != "third" || len(info.Allocations) != 1 {
		t.Errorf("the status is %+v", info)
	}
	all := make(chan api.PinInfo, 8)
	s.shared.set(pin)
	must(t, s.StatusAll(t.Context(), api.TrackerStatusPinQueued|api.TrackerStatusPinned, all))
	if info := <-all; info.Cid != pin.Cid || info.Name != "third" {
		t.Errorf("the list has %+v", info)
	}
	release()
	await.True(t, "it is pinned", func() bool { return len(s.ipfs.has()) == 2 })
	if got := s.ipfs.has()[pin.Cid]; got.Name != "third" || got.MaxDepth != -1 {
		t.Errorf("pinned is %+v", got)
	}
}

// The last call decides, whatever was queued before.
func TestTracker_TheLastCallDecides(t *testing.T) {
	for name, tt := range map[string]struct {
		calls func(s *setup) error
		want  string // the name of the pin; empty: not pinned
	}{
		"removed while it is queued": {func(s *setup) error {
			return errors.Join(s.Track(t.Context(), record(1, "a")), s.Untrack(t.Context(), record(1, "").Cid))
		}, ""},
		"removed with a newer record": {func(s *setup) error {
			return errors.Join(s.Track(t.Context(), record(1, "a")), s.Track(t.Context(), record(1, "b")), s.Untrack(t.Context(), record(1, "").Cid))
		}, ""},
		"removed and added": {func(s *setup) error {
			return errors.Join(s.Track(t.Context(), record(1, "a")), s.Untrack(t.Context(), record(1, "").Cid),
				s.Untrack(t.Context(), record(1, "").Cid), s.Track(t.Context(), record(1, "b")), s.Track(t.Context(), record(1, "c")))
		}, "c"},
		"moved to another peer and back": {func(s *setup) error {
			return errors.Join(s.Track(t.Context(), record(1, "a")), s.Track(t.Context(), elsewhere(record(1, "b"))),
				s.Track(t.Context(), elsewhere(record(1, "c"))), s.Track(t.Context(), record(1, "d")))
		}, "d"},
		"moved to another peer": {func(s *setup) error {
			return errors.Join(s.Track(t.Context(), record(1, "a")), s.Track(t.Context(), elsewhere(record(1, "b"))))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 1)
			s.release = sync.OnceFunc(s.ipfs.blocks())
			must(t, s.Track(t.Context(), record(0, "busy")))
			must(t, tt.calls(s))
			s.release()
			await.True(t, "all is done", func() bool {
				return s.OpContext(t.Context(), record(0, "").Cid) == nil && s.OpContext(t.Context(), record(1, "").Cid) == nil
			})
			if got := s.ipfs.has()[record(1, "").Cid]; got.Name != tt.want {
				t.Errorf("pinned is %q, not %q", got.Name, tt.want)
			}
		})
	}
}

// A queue without room begins nothing: the next record is not kept for it.
func TestTracker_AnOperationThatEndedBeforeItBeganKeepsNothing(t *testing.T) {
	s := newSetup(t, 1)
	pin := record(1, "a")
	s.mu.Lock()
	s.unread[pin.Cid] = &operation{kind: pinning}
	s.mu.Unlock()
	must(t, s.Track(t.Context(), pin))
	await.True(t, "it is pinned", func() bool { return len(s.ipfs.has()) == 1 })
}

func TestTracker_Recover(t *testing.T) {
	failed := errors.New("no")
	for name, recoverAll := range map[string]bool{"one": false, "all": true} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 1)
			s.ipfs.fails(failed)
			pin, gone := record(1, "a"), record(2, "b")
			s.shared.set(pin)
			must(t, s.Track(t.Context(), pin))
			must(t, s.Untrack(t.Context(), gone.Cid))
			status := func(c api.Cid) api.TrackerStatus { return s.Status(t.Context(), c).Status }
			await.True(t, "both fail", func() bool {
				return status(pin.Cid) == api.TrackerStatusPinError && status(gone.Cid) == api.TrackerStatusUnpinError
			})
			release := s.ipfs.blocks()
			if recoverAll {
				out := make(chan api.PinInfo, 8)
				must(t, s.RecoverAll(t.Context(), out))
				if info := <-out; info.Cid != pin.Cid || info.Status == api.TrackerStatusPinError {
					t.Errorf("told is %+v", info)
				}
			} else {
				for _, c := range []api.Cid{pin.Cid, gone.Cid} {
					info, err := s.Recover(t.Context(), c)
					if err != nil || info.Cid != c || info.Status.Match(api.TrackerStatusError) {
						t.Errorf("told is %+v, %v", info, err)
					}
				}
			}
			release()
			await.True(t, "it is pinned", func() bool { return status(pin.Cid) == api.TrackerStatusPinned })
			if !recoverAll {
				await.True(t, "it is unpinned", func() bool { return status(gone.Cid) == api.TrackerStatusUnpinned })
			}
			info, err := s.Recover(t.Context(), pin.Cid)
			if err != nil || info.Status != api.TrackerStatusPinned || info.AttemptCount > 0 {
				t.Errorf("what is pinned is told as %+v, %v", info, err)
			}
		})
	}
}

// A pin whose removal failed, and which is there again, is not unpinned.
func TestTracker_RecoverFollowsTheState(t *testing.T) {
	s := newSetup(t, 1)
	s.ipfs.fails(errors.New("no"))
	pin := record(1, "a")
	must(t, s.Untrack(t.Context(), pin.Cid))
	await.True(t, "it fails", func() bool { return s.Status(t.Context(), pin.Cid).Status == api.TrackerStatusUnpinError })
	s.ipfs.blocks()()
	s.shared.set(pin)
	if _, err := s.Recover(t.Context(), pin.Cid); err != nil {
		t.Fatal(err)
	}
	await.True(t, "it is pinned", func() bool { return s.Status(t.Context(), pin.Cid).Status == api.TrackerStatusPinned })
}

func TestTracker_NothingIsTrackedAfterShutdown(t *testing.T) {
	s := newSetup(t, 1)
	must(t, s.Shutdown(context.Background()))
	pin := record(1, "a")
	must(t, errors.Join(s.Track(t.Context(), pin), s.Untrack(t.Context(), pin.Cid), s.Track(t.Context(), elsewhere(pin))))
	if s.OpContext(t.Context(), pin.Cid) != nil {
		t.Error("there is an operation")
	}
}

// A reader of statuses that takes its time keeps nothing from being tracked (U83), whether
// there are newer records or not.
func TestTracker_ASlowReaderOfStatusesHoldsUpNothing(t *testing.T) {
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprintf("held %t", held), func(t *testing.T) {
			const queued = 5
			s := newSetup(t, 1)
			release := s.ipfs.blocks()
			defer release()
			for n := range queued {
				must(t, s.Track(t.Context(), record(n, "first")))
			}
			if held {
				must(t, s.Track(t.Context(), record(queued-1, "second")))
			}
			out, ended := make(chan api.PinInfo), make(chan error, 1)
			filter := api.TrackerStatusPinning | api.TrackerStatusPinQueued
			go func() { ended <- s.StatusAll(t.Context(), filter, out) }()
			infos := []api.PinInfo{<-out} // And no more for now.

			tracked := make(chan error, 2)
			go func() { tracked <- s.Track(t.Context(), record(queued, "another")) }()
			go func() { tracked <- s.Untrack(t.Context(), record(1, "").Cid) }()
			for range 2 {
				select {
				case err := <-tracked:
					must(t, err)
				case <-time.After(20 * time.Second):
					t.Fatal("nothing can be tracked while statuses are read")
				}
			}
			for info := range out {
				infos = append(infos, info)
			}
			must(t, <-ended)
			names := map[string]int{}
			for _, info := range infos {
				names[info.Name]++
			}
			if want := map[bool]map[string]int{false: {"first": 5}, true: {"first": 4, "second": 1}}[held]; !maps.Equal(names, want) {
				t.Errorf("the statuses are of %v, want %v", names, want)
			}
		})
	}
}

// What is pinned after the pins of the node were listed is not queued again, behind pins that may take hours.
func TestRecoverAll_LeavesWhatIsPinnedMeanwhile(t *testing.T) {
	s := newSetup(t, 1)
	pin, gone := record(1, "a"), record(2, "b")
	s.shared.set(pin)
	s.shared.set(gone)
	s.ipfs.listed = func() {
		s.ipfs.mu.Lock()
		defer s.ipfs.mu.Unlock()
		s.ipfs.pins[pin.Cid] = pin
	}
	out := make(chan api.PinInfo, 8)
	must(t, s.RecoverAll(t.Context(), out))
	var begun []api.Cid
	for info := range out {
		begun = append(begun, info.Cid)
	}
	if len(begun) != 1 || begun[0] != gone.Cid {
		t.Errorf("begun is %v", begun)
	}
}
