package tracking

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/pintracker/stateless"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

func asDirect(pin api.Pin) api.Pin {
	pin.Mode, pin.MaxDepth = api.PinModeDirect, 0
	return pin
}

// statuses are those that a tracker reports in its list of all pins.
func statuses(t *testing.T, tracker interface {
	StatusAll(context.Context, api.TrackerStatus, chan<- api.PinInfo) error
}, filter api.TrackerStatus) map[api.Cid]api.PinInfo {
	t.Helper()
	out := make(chan api.PinInfo, 16)
	must(t, tracker.StatusAll(t.Context(), filter, out))
	all := make(map[api.Cid]api.PinInfo)
	for info := range out {
		all[info.Cid] = info
	}
	return all
}

// The IPFS node has a root alone of what is to be pinned with all below it, or the other way round, or what
// is wanted (U109): in the list of all pins and of each one that is pinned for which at least as much is
// there as is wanted. With allKinds the node lists what upstream's tracker wants to know.
func TestStatusAll_TellsTheKindsOfPinsApart(t *testing.T) {
	for name, allKinds := range map[string]bool{"the connector lists one kind": false, "all kinds": true} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 1)
			s.ipfs.allKinds = allKinds
			rootOnly, root, whole, more, gone := record(1, ""), asDirect(record(2, "")), record(3, ""), asDirect(record(4, "")), record(5, "")
			for _, pin := range []api.Pin{rootOnly, root, whole, more, gone} {
				s.shared.set(pin)
			}
			for _, pin := range []api.Pin{asDirect(rootOnly), root, whole, record(4, ""), asDirect(record(6, "of nobody"))} {
				s.ipfs.pins[pin.Cid] = pin
			}
			pinned, lost := []api.Cid{root.Cid, whole.Cid, more.Cid}, []api.Cid{rootOnly.Cid, gone.Cid}
			for filter, want := range map[api.TrackerStatus][]api.Cid{
				api.TrackerStatusUndefined: append(slices.Clone(pinned), lost...), fromNode: append(slices.Clone(pinned), lost...),
				api.TrackerStatusPinned: pinned, api.TrackerStatusUnexpectedlyUnpinned: lost, api.TrackerStatusRemote: nil,
			} {
				s.ipfs.lists = nil
				infos := statuses(t, s, filter)
				if len(infos) != len(want) {
					t.Errorf("with filter %s are %v", filter, infos)
				}
				for _, c := range want {
					info, status := infos[c], api.TrackerStatusPinned
					if slices.Contains(lost, c) {
						status = api.TrackerStatusUnexpectedlyUnpinned
					}
					if info.Status != status || (info.Error != "") != (status != api.TrackerStatusPinned) {
						t.Errorf("with filter %s is %+v", filter, info)
					}
				}
				if lists := slices.Sorted(slices.Values(s.ipfs.lists)); filter != api.TrackerStatusRemote && !slices.Equal(lists, []string{"direct", "direct", "recursive"}) {
					t.Errorf("the node was asked for %v", lists) // Once by us; upstream names both kinds in one call.
				}
			}
			for c, status := range map[api.Cid]api.TrackerStatus{
				root.Cid: api.TrackerStatusPinned, whole.Cid: api.TrackerStatusPinned,
				rootOnly.Cid: api.TrackerStatusUnexpectedlyUnpinned, gone.Cid: api.TrackerStatusUnexpectedlyUnpinned,
			} {
				if info := s.Status(t.Context(), c); info.Status != status {
					t.Errorf("asked for alone it is %+v", info)
				}
			}
		})
	}
}

// What upstream's tracker says by itself; when this fails, it tells the kinds apart.
func TestStatusAll_UpstreamDoesNotTellTheKindsApart(t *testing.T) {
	s := newSetup(t, 1)
	rootOnly, root := record(1, ""), asDirect(record(2, ""))
	for _, pin := range []api.Pin{rootOnly, root} {
		s.shared.set(pin)
		s.ipfs.pins[pin.Cid] = asDirect(pin)
	}
	upstream := s.Inner.(*stateless.Tracker)
	if infos := statuses(t, upstream, fromNode); infos[root.Cid].Status != api.TrackerStatusUnexpectedlyUnpinned {
		t.Errorf("a pinned root is %+v", infos[root.Cid])
	}
	s.ipfs.allKinds = true
	if infos := statuses(t, upstream, fromNode); infos[rootOnly.Cid].Status != api.TrackerStatusPinned {
		t.Errorf("a root alone is %+v", infos[rootOnly.Cid])
	}
}

// Roots are pinned with all below them by a recovery, and those that are to be alone stay.
func TestRecoverAll_PinsWhatHasTheRootAlone(t *testing.T) {
	s := newSetup(t, 1)
	rootOnly, root := record(1, ""), asDirect(record(2, ""))
	for _, pin := range []api.Pin{rootOnly, root} {
		s.shared.set(pin)
		s.ipfs.pins[pin.Cid] = asDirect(pin)
	}
	out := make(chan api.PinInfo, 16)
	must(t, s.RecoverAll(t.Context(), out))
	var begun []api.Cid
	for info := range out {
		begun = append(begun, info.Cid)
	}
	if len(begun) != 1 || begun[0] != rootOnly.Cid {
		t.Errorf("begun is %v", begun)
	}
	await.True(t, "it is recursive", func() bool { return s.ipfs.has()[rootOnly.Cid].MaxDepth == -1 })
}

// errNodeAway is that of a node that is away.
var errNodeAway = errors.New("connection refused")

type nodeAway struct{}

func (nodeAway) PinLs(_ context.Context, _ []string, out chan<- api.IPFSPinInfo) error {
	close(out)
	return errNodeAway
}

// Without the roots it is not known what is pinned.
func TestStatusAll_FailsWithoutTheRoots(t *testing.T) {
	s := newSetup(t, 1)
	pin := record(1, "")
	s.shared.set(pin)
	s.ipfs.pins[pin.Cid] = pin
	s.cfg.Node = nodeAway{}
	out := make(chan api.PinInfo, 16)
	if err := s.StatusAll(t.Context(), fromNode, out); !errors.Is(err, errNodeAway) {
		t.Errorf("it ends with %v", err)
	}
	for info := range out {
		t.Errorf("told is %+v", info)
	}
}
