package peer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/cmdutils"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs-cluster/ipfs-cluster/datastore/inmem"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs-cluster/ipfs-cluster/state/dsstate"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
)

// ImportOptions change pins while they are imported; zero values keep what
// each pin has.
type ImportOptions struct {
	ReplicationMin, ReplicationMax int
	Allocations                    []peer.ID
}

// ExportPins writes the pinset of a stopped peer as one JSON object a line, as
// ipfs-cluster-service does. The caller holds the Lock.
func (c *Configuration) ExportPins(ctx context.Context, w io.Writer) (err error) {
	pinset, err := c.openPinset(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pinset.close()) }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pins := make(chan api.Pin, 1024)
	listed := make(chan error, 1)
	go func() { listed <- pinset.state.List(ctx, pins) }()
	enc := json.NewEncoder(w)
	var failed error
	for pin := range pins { // Drained to the end: List closes it.
		if failed != nil {
			continue
		}
		if failed = enc.Encode(pin); failed != nil {
			cancel()
		}
	}
	err = <-listed
	// List may end early without an error when ctx ends.
	return cmp.Or(failed, err, ctx.Err())
}

// ImportPins replaces the pinset of a stopped peer by the output of ExportPins or
// "ipfs-cluster-service state export". The input is checked before the present
// pinset is changed; with Raft the present one is moved to a backup folder. The
// caller holds the Lock.
func (c *Configuration) ImportPins(ctx context.Context, r io.Reader, opts ImportOptions) error {
	checked, err := c.spool(r)
	if err != nil {
		return err
	}
	defer os.Remove(checked.Name())
	defer checked.Close()
	if _, err := c.raftMembers(); err != nil {
		return err
	}
	if err := c.CleanState(ctx); err != nil {
		return err
	}
	if err := c.fill(ctx, checked, opts); err != nil {
		return fmt.Errorf("the pinset is incomplete now, import it again: %w", err)
	}
	return nil
}

// spool copies pins to a file in the peer's folder that only its owner can read.
// It fails when a pin is invalid.
func (c *Configuration) spool(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(c.Files.Folder(), "import.*.tmp")
	if err != nil {
		return nil, err
	}
	err = eachPin(io.TeeReader(r, f), func(api.Pin) error { return nil })
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

func eachPin(r io.Reader, do func(api.Pin) error) error {
	dec := json.NewDecoder(r)
	for n := 1; ; n++ {
		var pin api.Pin
		err := dec.Decode(&pin)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && !pin.Cid.Defined() {
			err = errors.New("it has no cid")
		}
		if err != nil {
			return fmt.Errorf("pin %d: %w", n, err)
		}
		if pin.Type == 0 {
			// An export of a version without types: all pins are recursive.
			pin.Type, pin.Mode, pin.MaxDepth = api.DataType, api.PinModeRecursive, -1
		}
		if err := do(pin); err != nil {
			return fmt.Errorf("pin %d, %s: %w", n, pin.Cid, err)
		}
	}
}

func (c *Configuration) fill(ctx context.Context, r io.Reader, opts ImportOptions) (err error) {
	pinset, err := c.openPinset(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pinset.close()) }()
	added := 0
	err = eachPin(r, func(pin api.Pin) error {
		if opts.ReplicationMin > 0 {
			pin.ReplicationFactorMin = opts.ReplicationMin
		}
		if opts.ReplicationMax > 0 {
			pin.ReplicationFactorMax = opts.ReplicationMax
		}
		if len(opts.Allocations) > 0 {
			pin.Allocations = opts.Allocations
		}
		if err := pinset.state.Add(ctx, pin); err != nil {
			return err
		}
		if added++; pinset.group == 0 || added%pinset.group > 0 {
			return nil
		}
		return pinset.commit(ctx)
	})
	if err != nil {
		return err
	}
	return pinset.commit(ctx)
}

// CleanState removes the pinset and all consensus data of a stopped peer, which
// then starts like a new one. Raft's data is moved to a backup folder. The
// caller holds the Lock.
func (c *Configuration) CleanState(ctx context.Context) error {
	consensus, _, err := c.Engines()
	if err != nil {
		return err
	}
	cfgs := c.Helper.Configs()
	if consensus == ConsensusRaft {
		return raft.CleanupRaft(cfgs.Raft)
	}
	store, err := c.openStore()
	if err != nil {
		return err
	}
	return errors.Join(crdt.Clean(ctx, cfgs.Crdt, store), store.Close())
}

// offlinePinset is the shared state of a stopped peer.
type offlinePinset struct {
	state  state.State
	commit func(context.Context) error
	// group is how many pins are committed at once; zero: all of them.
	group int
	close func() error
}

func (c *Configuration) openPinset(ctx context.Context) (*offlinePinset, error) {
	consensus, _, err := c.Engines()
	if err != nil {
		return nil, err
	}
	if consensus == ConsensusRaft {
		return c.openRaftPinset()
	}
	store, err := c.openCRDT(ctx)
	if err != nil {
		return nil, err
	}
	st, err := dsstate.NewBatching(ctx, store.crdt, "", dsstate.DefaultHandle())
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	// The delta's size is computed anew for each pin of a group.
	return &offlinePinset{state: st, commit: st.Commit, group: 256, close: store.Close}, nil
}

// openRaftPinset loads the last snapshot into memory. Later changes are only in
// Raft's log, which upstream does not read offline either; a peer makes a
// snapshot when it stops.
func (c *Configuration) openRaftPinset() (*offlinePinset, error) {
	cfgs := c.Helper.Configs()
	store := inmem.New()
	st, err := raftstate.Offline(cfgs.Raft, store)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	save := func(context.Context) error {
		members, err := c.raftMembers()
		if err != nil {
			return err
		}
		return raft.SnapshotSave(cfgs.Raft, st, members)
	}
	return &offlinePinset{state: st, commit: save, close: store.Close}, nil
}

// raftMembers are the members of a cluster that begins with an imported pinset: as upstream, this peer
// and those of the file peerstore, from which a running peer drops who is no member.
func (c *Configuration) raftMembers() ([]peer.ID, error) {
	content, err := readPeerstore(c.Helper.Configs().Cluster.GetPeerstorePath())
	if err != nil {
		return nil, err
	}
	self := c.Helper.Identity().ID
	file := parsePeerstore(content, self)
	return append(file.peers(), self), nil
}

// stateManager opens the datastore of the configuration.
func (c *Configuration) stateManager() (cmdutils.StateManager, error) {
	consensus, datastore, err := c.Engines()
	if err != nil {
		return nil, err
	}
	return cmdutils.NewStateManager(string(consensus), datastore, c.Helper.Identity(), c.Helper.Configs())
}
