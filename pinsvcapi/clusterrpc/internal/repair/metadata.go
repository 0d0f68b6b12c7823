package repair

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/replacement"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statewrite"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// MetadataDelay is how long a record that lost its reserved metadata is left alone:
	// the tool that wrote it may not be done.
	MetadataDelay = 2 * time.Second
	// maxMetadataRepairs bounds the records repaired by one call of RepairDue, and
	// maxIncomplete those that wait for it. The next resync finds the others.
	maxMetadataRepairs, maxIncomplete = 16, 100_000
)

// MetadataConfig is what a Metadata needs. All fields are required.
type MetadataConfig struct {
	View    *pinset.View
	Tracker *peerstatus.Tracker
	Index   *replacement.Index
	Syncer  *statesync.Syncer
	Writer  *statewrite.Writer
	Breaker *poll.Breaker
	Self    peer.ID
	Now     func() time.Time
}

// Metadata repairs records whose reserved metadata another tool replaced (D2). The view and
// the index still have the earlier values. It is safe for concurrent use.
type Metadata struct {
	cfg MetadataConfig

	mu         sync.Mutex
	incomplete map[cid.Cid]time.Time // since when

	repaired atomic.Uint64
}

// NewMetadata returns a repairer without work. Configure is called before RepairDue.
func NewMetadata() *Metadata { return &Metadata{incomplete: make(map[cid.Cid]time.Time)} }

// Configure completes the repairer: the tracker reports to it, and it needs the tracker.
func (m *Metadata) Configure(cfg MetadataConfig) { m.cfg = cfg }

// Lost notes a record that lost its reserved metadata.
func (m *Metadata) Lost(key cid.Cid) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.incomplete[key]; !ok && len(m.incomplete) < maxIncomplete {
		m.incomplete[key] = m.cfg.Now()
	}
}

// Repaired is how many records were repaired.
func (m *Metadata) Repaired() uint64 { return m.repaired.Load() }

// Waiting is how many records wait for their repair.
func (m *Metadata) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.incomplete)
}

// RepairDue writes back the reserved metadata of records whose time has come. The
// member closest to the pin does it; the others follow when it does not.
func (m *Metadata) RepairDue(ctx context.Context) {
	for _, key := range m.takeDue() {
		if err := m.repair(ctx, key); err != nil && pinsvc.KindOf(err) != pinsvc.KindForbidden && ctx.Err() == nil {
			log.Warnf("write back the reserved metadata of pin %s: %s", key, err)
			m.Lost(key)
		}
	}
}

func (m *Metadata) takeDue() []cid.Cid {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.incomplete) == 0 {
		return nil
	}
	members := m.cfg.Tracker.Members()
	var due []cid.Cid
	for key, since := range m.incomplete {
		rank := Rank(key, m.cfg.Self, members, m.cfg.Breaker.Open)
		if len(due) < maxMetadataRepairs && m.cfg.Now().Sub(since) >= MetadataDelay+time.Duration(rank)*slotTime {
			due = append(due, key)
			delete(m.incomplete, key)
		}
	}
	return due
}

// repair writes the reserved metadata into a record that still lacks them.
func (m *Metadata) repair(ctx context.Context, key cid.Cid) error {
	unlock, err := m.cfg.Writer.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	// Not Get: to enter the record would report its loss again.
	current, err := m.cfg.Syncer.Read(ctx, api.NewCid(key))
	if err != nil {
		return err
	}
	mutation := m.restore(key, m.cfg.Index.Names(current.Rec))
	if !current.Found || mutation.In(current) {
		return nil
	}
	log.Infof("pin %s was changed by another tool: its reserved metadata is written back", key)
	// What another peer accepts before this is committed stays. If it needs a repair, that is one of its own.
	written, err := m.cfg.Writer.PutVersion(ctx, current.Rec, mutation)
	if written {
		m.repaired.Add(1)
	}
	return err
}

// restore writes what the view knows of a pin into a record that lacks it, and the names of
// pins that the record has to name.
func (m *Metadata) restore(key cid.Cid, names []pinrecord.Replaced) statesync.Mutation {
	row, known := m.cfg.View.Get(key)
	known = known && row.Stamped && row.CID.Equals(key)
	return func(current statesync.Versioned) statesync.Versioned {
		if !current.Found || !pinrecord.Visible(current.Rec) {
			return current
		}
		rec := current.Rec
		if _, ours := pinrecord.CreatedOf(rec); known && !ours {
			requested := row.CID
			if other, ok := pinsvc.OtherForm(row.CID); ok && row.OtherFormRequested {
				requested = other
			}
			rec = pinrecord.WithReserved(rec, requested, row.Created)
			// What the tool wrote is a revision of its own, which nothing has replaced.
			pinrecord.Revise(rec, m.cfg.Now())
		}
		return statesync.Versioned{Rec: pinrecord.WithReplaced(rec, names), Found: true}
	}
}
