package commitstore

import (
	"context"
	"errors"

	"github.com/ipfs/go-datastore"
)

// errClosed is the error of every call after Close.
var errClosed = errors.New("the CRDT is shut down")

// Close implements datastore.Datastore, but the datastore under it stays open: it waits for the
// calls in progress and has later ones fail. The
// provider's queue of the CRDT's blocks is still written after the consensus was shut down, and
// pebble ends the process when it is written after it was closed (U54 in docs/upstream-faults.md).
func (s *Store) Close() error {
	s.open.Lock()
	defer s.open.Unlock()
	s.closed = true
	return nil
}

// use runs a call unless the store is closed.
func (s *Store) use(call func() error) error {
	s.open.RLock()
	defer s.open.RUnlock()
	if s.closed {
		return errClosed
	}
	return call()
}

// Get implements datastore.Read.
func (s *Store) Get(ctx context.Context, key datastore.Key) (value []byte, err error) {
	if value, undone, err := s.withoutUndone(ctx, key.String()); undone {
		return value, err
	}
	err = s.use(func() (err error) {
		value, err = s.Batching.Get(ctx, key)
		return err
	})
	return value, err
}

// GetSize implements datastore.Read.
func (s *Store) GetSize(ctx context.Context, key datastore.Key) (size int, err error) {
	err = s.use(func() (err error) {
		size, err = s.Batching.GetSize(ctx, key)
		return err
	})
	return size, err
}

// Delete implements datastore.Write.
func (s *Store) Delete(ctx context.Context, key datastore.Key) error {
	return s.use(func() error { return s.Batching.Delete(ctx, key) })
}

// Sync implements datastore.Datastore.
func (s *Store) Sync(ctx context.Context, prefix datastore.Key) error {
	return s.use(func() error { return s.Batching.Sync(ctx, prefix) })
}
