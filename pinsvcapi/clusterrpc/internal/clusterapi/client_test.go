package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// Each method calls one method of a service, hands over its argument and returns
// its reply; or its error, and no reply.
func TestClient_Methods(t *testing.T) {
	key := api.NewCid(pinsvctest.RawCID(1))
	pin := api.PinCid(key)
	pin.Name = "x"
	one := func(v any, err error) (string, error) { return fmt.Sprint(v), err }
	tests := []struct {
		call  string
		do    func(context.Context, Client) (string, error)
		reply string
	}{
		{"Cluster.Pin " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.Pin(ctx, pin)
			return got.Name, err
		}, "x as written"},
		{"Cluster.BlockAllocate " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.Allocate(ctx, pin)
			return fmt.Sprint(slices.Equal(got, []peer.ID{"A", "B"})), err
		}, "true"},
		{"Cluster.Unpin " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.Unpin(ctx, key)
			return got.Cid.String(), err
		}, key.String()},
		{"Consensus.LogPin " + key.String(), func(ctx context.Context, c Client) (string, error) {
			return "", c.LogPin(ctx, pin)
		}, ""},
		{"Consensus.LogUnpin " + key.String(), func(ctx context.Context, c Client) (string, error) {
			return "", c.LogUnpin(ctx, key)
		}, ""},
		{"Cluster.PinGet " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.PinGet(ctx, key)
			return got.Cid.String(), err
		}, key.String()},
		{"Cluster.PinGet " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.PinGetAt(ctx, Local, key)
			return got.Cid.String(), err
		}, key.String()},
		{"PinTracker.Status " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.TrackerStatus(ctx, Local, key)
			return one(got.Status, err)
		}, "pinned"},
		{"PinTracker.Recover " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.Recover(ctx, Local, key)
			return one(got.Status, err)
		}, "pin_queued"},
		{"Cluster.ID ", func(ctx context.Context, c Client) (string, error) {
			got, err := c.ID(ctx, Local)
			return string(got.ID), err
		}, "A"},
		{"Consensus.Peers ", func(ctx context.Context, c Client) (string, error) {
			got, err := c.Members(ctx)
			return one(len(got), err)
		}, "2"},
		{"PeerMonitor.LatestMetrics ping", func(ctx context.Context, c Client) (string, error) {
			got, err := c.LatestMetrics(ctx, "ping")
			return one(len(got), err)
		}, "1"},
		{"IPFSConnector.RepoStat ", func(ctx context.Context, c Client) (string, error) {
			return "", c.ProbeIPFS(ctx)
		}, ""},
		{"IPFSConnector.BlockGet " + key.String(), func(ctx context.Context, c Client) (string, error) {
			got, err := c.Block(ctx, key)
			return string(got), err
		}, "block"},
	}
	for _, tt := range tests {
		s := &services{}
		reply, err := tt.do(t.Context(), s.client(t))
		if err != nil || reply != tt.reply || !slices.Equal(s.calls, []string{tt.call}) {
			t.Errorf("%s: reply %q, want %q, calls %q: %v", tt.call, reply, tt.reply, s.calls, err)
		}
		s = &services{fail: errBroken}
		if _, err := tt.do(t.Context(), s.client(t)); !errors.Is(err, errBroken) {
			t.Errorf("%s: error %v", tt.call, err)
		}
	}
}

func TestClient_TrackerStatuses(t *testing.T) {
	s := &services{}
	var names []string
	collect := func(info api.PinInfo) error {
		names = append(names, info.Name)
		return nil
	}
	err := s.client(t).TrackerStatuses(t.Context(), Local, ActiveStatuses, collect)
	if err != nil || !slices.Equal(names, []string{"first", "second"}) {
		t.Errorf("%v: %v", names, err)
	}
	if want := fmt.Sprintf("PinTracker.StatusAll %d", ActiveStatuses); !slices.Equal(s.calls, []string{want}) {
		t.Errorf("calls %q, want %q", s.calls, want)
	}
	s.failMiddle = errBroken
	if err := s.client(t).TrackerStatuses(t.Context(), Local, AllStatuses, collect); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

// The filters must not have the statuses of pins that other peers hold: with them
// a tracker lists the whole shared state.
func TestClient_FiltersOfTrackerStatuses(t *testing.T) {
	for filter, statuses := range map[api.TrackerStatus][]api.TrackerStatus{
		ActiveStatuses: {api.TrackerStatusPinned, api.TrackerStatusUnexpectedlyUnpinned, api.TrackerStatusRemote},
		AllStatuses:    {api.TrackerStatusRemote, api.TrackerStatusSharded, api.TrackerStatusClusterError},
	} {
		for _, status := range statuses {
			if status.Match(filter) {
				t.Errorf("filter %s has %s", filter, status)
			}
		}
	}
}
