package divergence

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
)

// Elements are the elements and tombs of the CRDT's keys: a *crdtstore.Store.
type Elements interface {
	Members(ctx context.Context, key string) (crdtstore.Members, error)
	Block(ctx context.Context, id string) ([]byte, error)
	// Keep stores the block of an element, which is not shown by that.
	Keep(ctx context.Context, key, id string, data []byte) error
	// Repair enters tombs, and elements whose blocks are kept, in one commit, and gives the key the value of
	// what is live then.
	Repair(ctx context.Context, key string, tombs, elements []string) error
	MarkDirty(ctx context.Context) error
	Unfinished() int
}

// cidOf is the CID of a key of the shared state.
func cidOf(key string) string {
	if binary, err := dshelp.BinaryFromDsKey(datastore.NewKey(key)); err == nil {
		if c, err := api.CastCid(binary); err == nil {
			return c.String()
		}
	}
	return key
}

// repair gives this peer what it lacks of rows that differ. The other peer does the same
// when it notices.
func (w *Watcher) repair(ctx context.Context, id peer.ID, rows []suspect) {
	keys := keysOf(rows)
	if w.cfg.Replica != nil {
		w.restore(ctx, id, rows)
		return
	}
	var repaired []string
	adopted := 0
	for part := range slices.Chunk(keys, maxMembers) {
		n, changed, err := w.repairKeys(ctx, id, part)
		adopted, repaired = adopted+n, append(repaired, changed...)
		if err != nil {
			log.Warnf("%d pins differ from those of peer %s, which does not tell what it has of them (%s): %s", len(keys), id, err, names(part))
			break
		}
	}
	if adopted > 0 {
		if err := w.cfg.Elements.MarkDirty(ctx); err != nil {
			log.Warnf("having the CRDT's DAG repaired: %s", err)
		}
	}
	w.countRepaired(len(repaired))
	log.Warnf("%d pins differed from those of peer %s, %d of them were repaired here: %s", len(keys), id, len(repaired), names(keys))
}

// repairKeys repairs some keys. It returns how many elements it adopted, and the keys whose record became another one.
// It fails when the peer cannot be asked any more.
func (w *Watcher) repairKeys(ctx context.Context, id peer.ID, keys []string) (adopted int, repaired []string, err error) {
	theirs, err := w.membersOf(ctx, id, keys)
	if err != nil {
		return 0, nil, err
	}
	for i, key := range keys {
		n, changed, err := w.repairKey(ctx, id, key, theirs[i])
		adopted += n
		if changed {
			repaired = append(repaired, key)
		}
		if err != nil {
			log.Warnf("repairing pin %s, which differs from that of peer %s: %s", cidOf(key), id, err)
			if errors.Is(err, errUnanswered) {
				return adopted, repaired, err
			}
		}
	}
	return adopted, repaired, nil
}

func (w *Watcher) countRepaired(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.repaired += uint64(n)
}

func keysOf(rows []suspect) []string {
	keys := make([]string, len(rows))
	for i, row := range rows {
		keys[i] = row.mine.Key
	}
	return keys
}

// repairKey takes over tombs and elements of a key, all or nothing. It returns how many elements it
// adopted, and whether the record became another one.
func (w *Watcher) repairKey(ctx context.Context, id peer.ID, key string, theirs crdtstore.Members) (adopted int, changed bool, err error) {
	e := w.cfg.Elements
	before, err := w.cfg.Pinset.Row(ctx, key)
	if err != nil {
		return 0, false, err
	}
	mine, err := e.Members(ctx, key)
	if err != nil {
		return 0, false, err
	}
	lacks := missing(missing(theirs.Live, mine.Live), mine.Tombs)
	for part := range slices.Chunk(lacks, maxBlocks) {
		blocks, err := w.blocks(ctx, id, part)
		if err != nil {
			return 0, false, err
		}
		for i, block := range blocks {
			if len(block) == 0 {
				return 0, false, fmt.Errorf("peer %s has no block %s", id, part[i])
			}
			if err := e.Keep(ctx, key, part[i], block); err != nil {
				return 0, false, fmt.Errorf("storing the block of an element: %w", err)
			}
		}
	}
	// Without tombs and elements too: the value alone may be wrong.
	if err := e.Repair(ctx, key, missing(theirs.Tombs, mine.Tombs), lacks); err != nil {
		return 0, false, fmt.Errorf("entering its tombs and elements: %w", err)
	}
	after, err := w.cfg.Pinset.Row(ctx, key)
	return len(lacks), after != before, err
}

// missing are the IDs of want that have lacks.
func missing(want, have []string) (list []string) {
	for _, id := range want {
		if !slices.Contains(have, id) {
			list = append(list, id)
		}
	}
	return list
}
