package clusterfake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

type cluster struct{ s *Services }

// Pin completes a record and hands it to the consensus.
func (c *cluster) Pin(ctx context.Context, in api.Pin, out *api.Pin) error {
	if err := c.s.begin("Cluster.Pin"); err != nil {
		return err
	}
	c.s.Set(func() {
		in.Timestamp = time.Now()
		switch {
		case in.Type != api.DataType:
		case c.s.Everywhere:
			in.Allocations, in.ReplicationFactorMin, in.ReplicationFactorMax = nil, -1, -1
		default:
			in.ReplicationFactorMin, in.ReplicationFactorMax = 1, len(in.Allocations)
		}
	})
	*out = in
	return (&consensus{c.s}).LogPin(ctx, in, nil)
}

// Unpin hands the removal of a record that the state has to the consensus.
func (c *cluster) Unpin(ctx context.Context, in api.Pin, out *api.Pin) error {
	if err := c.s.begin("Cluster.Unpin"); err != nil {
		return err
	}
	rec, ok := c.s.Record(in.Cid.Cid)
	if !ok {
		return state.ErrNotFound
	}
	*out = rec
	return (&consensus{c.s}).LogUnpin(ctx, in, nil)
}

// PinGet reads a record.
func (c *cluster) PinGet(_ context.Context, in api.Cid, out *api.Pin) error {
	if err := c.s.begin("Cluster.PinGet"); err != nil {
		return err
	}
	if err := c.s.begin("Cluster.PinGet of " + in.String()); err != nil {
		return err
	}
	rec, ok := c.s.Record(in.Cid)
	if !ok {
		return state.ErrNotFound
	}
	*out = rec
	return nil
}

// Pins leaves out open when it fails at once, as the cluster does.
func (c *cluster) Pins(_ context.Context, _ <-chan struct{}, out chan<- api.Pin) error {
	if err := c.s.begin("Cluster.Pins"); err != nil {
		return err
	}
	defer close(out)
	for _, rec := range c.s.records() {
		out <- rec
	}
	return c.s.atEnd("Cluster.Pins")
}

// BlockAllocate returns the configured allocation.
func (c *cluster) BlockAllocate(_ context.Context, _ api.Pin, out *[]peer.ID) error {
	if err := c.s.begin("Cluster.BlockAllocate"); err != nil {
		return err
	}
	c.s.Set(func() { *out = c.s.Allocation })
	return nil
}

// ID returns the configured identity.
func (c *cluster) ID(_ context.Context, _ struct{}, out *api.ID) error {
	if err := c.s.begin("Cluster.ID"); err != nil {
		return err
	}
	c.s.Set(func() { *out = c.s.ID })
	return nil
}

type tracker struct{ s *Services }

// Status is the report on one pin.
func (t *tracker) Status(_ context.Context, in api.Cid, out *api.PinInfo) error {
	if err := t.s.begin("PinTracker.Status"); err != nil {
		return err
	}
	t.s.Set(func() { *out = t.s.Reports[in.Cid] })
	return nil
}

// StatusAll has the reports that Status has.
func (t *tracker) StatusAll(_ context.Context, in <-chan api.TrackerStatus, out chan<- api.PinInfo) error {
	defer close(out)
	filter := <-in
	if err := t.s.begin("PinTracker.StatusAll"); err != nil {
		return err
	}
	t.s.mu.Lock()
	reports := maps.Clone(t.s.Reports)
	t.s.mu.Unlock()
	for c, info := range reports {
		if !info.Status.Match(filter) {
			continue
		}
		info.Cid = api.NewCid(c)
		out <- info
	}
	return t.s.atEnd("PinTracker.StatusAll")
}

// Recover only counts.
func (t *tracker) Recover(_ context.Context, in api.Cid, _ *api.PinInfo) error {
	if err := t.s.begin("PinTracker.Recover"); err != nil {
		return err
	}
	return t.s.begin("PinTracker.Recover of " + in.String())
}

type consensus struct{ s *Services }

// Peers are the members.
func (c *consensus) Peers(_ context.Context, _ struct{}, out *[]peer.ID) error {
	if err := c.s.begin("Consensus.Peers"); err != nil {
		return err
	}
	c.s.Set(func() { *out = c.s.Members })
	return nil
}

// LogPin accepts a record without checks but the condition of the context.
func (c *consensus) LogPin(ctx context.Context, in api.Pin, _ *struct{}) error {
	if err := c.s.begin("Consensus.LogPin"); err != nil {
		return err
	}
	if err := c.check(ctx, in.Cid, false); err != nil {
		return err
	}
	c.s.commit(func() { c.s.Pins[in.Cid.Cid] = in })
	return nil
}

// LogUnpin accepts a removal as LogPin does a record.
func (c *consensus) LogUnpin(ctx context.Context, in api.Pin, _ *struct{}) error {
	if err := c.s.begin("Consensus.LogUnpin"); err != nil {
		return err
	}
	if err := c.s.begin("Consensus.LogUnpin of " + in.Cid.String()); err != nil {
		return err
	}
	if err := c.check(ctx, in.Cid, true); err != nil {
		return err
	}
	c.s.commit(func() { delete(c.s.Pins, in.Cid.Cid) })
	return nil
}

// check compares the condition of a write, if any, with the state.
func (c *consensus) check(ctx context.Context, key api.Cid, removal bool) error {
	version, conditional := clusterapi.Version(ctx, key)
	rec, found := c.s.Record(key.Cid)
	var refused bool
	c.s.Set(func() { refused = c.s.NoConditions })
	if !conditional || !refused && (found && pinrecord.Form(rec) == version || removal && !found) {
		return nil
	}
	return clusterapi.ErrChanged
}

type monitor struct{ s *Services }

// LatestMetrics are the pings, whatever metric is requested.
func (m *monitor) LatestMetrics(_ context.Context, name string, out *[]api.Metric) error {
	if err := m.s.begin("PeerMonitor.LatestMetrics"); err != nil {
		return err
	}
	m.s.Set(func() {
		for _, p := range m.s.Pinging {
			*out = append(*out, api.Metric{Name: name, Peer: p, Valid: true})
		}
	})
	return nil
}

type connector struct{ s *Services }

// BlockGet reads a block.
func (c *connector) BlockGet(_ context.Context, in api.Cid, out *[]byte) (err error) {
	if err := c.s.begin("IPFSConnector.BlockGet"); err != nil {
		return err
	}
	c.s.Set(func() {
		data, ok := c.s.Blocks[in.Cid]
		if *out = data; !ok {
			err = fmt.Errorf("block %s was not found locally (offline)", in)
		}
	})
	return err
}

// PinLs has the pins that the tracker reports to be pinned, all of them recursive.
func (c *connector) PinLs(_ context.Context, in <-chan []string, out chan<- api.IPFSPinInfo) error {
	defer close(out)
	if kinds := <-in; kinds[0] != api.IPFSPinStatusRecursive.String() {
		return nil
	}
	if err := c.s.begin("IPFSConnector.PinLs"); err != nil {
		return err
	}
	c.s.mu.Lock()
	reports := maps.Clone(c.s.Reports)
	c.s.mu.Unlock()
	for key, info := range reports {
		if info.Status == api.TrackerStatusPinned {
			out <- api.IPFSPinInfo{Cid: api.NewCid(key), Type: api.IPFSPinStatusRecursive}
		}
	}
	return c.s.atEnd("IPFSConnector.PinLs")
}

// RepoStat fails when the IPFS node is unavailable.
func (c *connector) RepoStat(_ context.Context, _ struct{}, _ *api.IPFSRepoStat) (err error) {
	if err := c.s.begin("IPFSConnector.RepoStat"); err != nil {
		return err
	}
	c.s.Set(func() {
		if text := c.s.ID.IPFS.Error; text != "" {
			err = errors.New(text)
		}
	})
	return err
}
