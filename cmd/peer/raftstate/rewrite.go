package raftstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-datastore"
)

// Row is a row of the state as another peer has it.
type Row struct {
	// Key is that of the row below the namespace of the state.
	Key string
	// Record is the pin in its protobuf form; empty when there is no such row.
	Record []byte
}

// watch notes the rows that entries of the log or a snapshot wrote since it began.
type watch struct {
	touched map[datastore.Key]struct{}
	all     bool // A snapshot was begun.
}

// touch needs the lock.
func (s *Store) touch(key datastore.Key) {
	for w := range s.watches {
		w.touched[key] = struct{}{}
	}
}

func (s *Store) watch() *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &watch{touched: make(map[datastore.Key]struct{})}
	s.watches[w] = struct{}{}
	return w
}

func (s *Store) unwatch(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watches, w)
}

// LeaderBarrier returns when this peer, as the leader, has applied all that was committed before the
// call on any peer. It returns ErrNotLeader when it is not the leader.
func (c *Consensus) LeaderBarrier(ctx context.Context) error {
	if err := c.leads(ctx); err != nil {
		return err
	}
	// Should it lose its office meanwhile, the entry is redirected, and still applied here.
	return c.barrier(ctx)
}

// Rewrite gives rows of this peer's state the records that the leader has, and returns the keys of
// those that it changed. read asks the leader, which answers after a LeaderBarrier.
//
// It is sound beside the log. The barrier was proposed after the watch began, so what the leader
// answers contains all that this peer had applied then. A row that no entry has written here since
// differs from the leader's by no entry that this peer has applied, and one that the leader was ahead
// by is applied here later: each entry sets its row whatever that was. Rows that an entry or a
// snapshot has written meanwhile are left alone.
//
// The change is in the state and in snapshots from now on, not in the log: after a kill before the
// next snapshot the rows differ again, and are found again.
func (c *Consensus) Rewrite(ctx context.Context, read func(context.Context) ([]Row, error)) (changed []string, err error) {
	w := c.store.watch()
	defer c.store.unwatch(w)
	rows, err := read(ctx)
	if err != nil {
		return nil, err
	}
	return c.store.rewrite(ctx, w, rows)
}

func (s *Store) rewrite(ctx context.Context, w *watch, rows []Row) (changed []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.all || s.restore != nil {
		return nil, errors.New("a snapshot of the leader is being installed")
	}
	var written, removed []datastore.Key
	for _, row := range rows {
		key := s.namespace.ChildString(row.Key)
		if _, touched := w.touched[key]; touched {
			continue
		}
		old, err := s.Datastore.Get(ctx, key)
		absent := errors.Is(err, datastore.ErrNotFound)
		switch {
		case err != nil && !absent:
			return changed, fmt.Errorf("reading row %s: %w", row.Key, err)
		case len(row.Record) == 0 && absent, len(row.Record) > 0 && !absent && bytes.Equal(old, row.Record):
			continue
		case len(row.Record) == 0:
			err = s.Datastore.Delete(ctx, key)
			removed = append(removed, key)
		default:
			err = s.Datastore.Put(ctx, key, row.Record)
			written = append(written, key)
		}
		if err != nil {
			return changed, fmt.Errorf("rewriting row %s: %w", row.Key, err)
		}
		changed = append(changed, row.Key)
	}
	if s.restored != nil && len(changed) > 0 {
		s.restored(Restored{Written: s.cids(written), Removed: s.cids(removed)})
	}
	return changed, nil
}
