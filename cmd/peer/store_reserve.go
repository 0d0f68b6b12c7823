package peer

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/ipfs/go-datastore"
)

// The space that is left free on the disk of a datastore whose library does not survive a full one
// (U81 in docs/upstream-faults.md). badger3 writes its tables, of 64 MiB, into mapped files.
const (
	storeReserve   = 32 << 20
	badgerReserve  = 128 << 20
	badger3Reserve = 192 << 20
)

// reservedStore refuses writes, as for a full disk, before the disk is full. Reads go on.
type reservedStore struct {
	datastore.Batching
	reserve uint64
	// free is how much is free; false: it is not known.
	free func() (uint64, bool)
}

// check returns an error when a write is to be refused.
func (s *reservedStore) check() error { return checkReserve(s.free, s.reserve, errStoreFull) }

// checkReserve returns the error for a full disk when less than the reserve is free.
func checkReserve(free func() (uint64, bool), reserve uint64, full error) error {
	if free, known := free(); known && free < reserve {
		return fmt.Errorf("%w: %s free, of which %s are kept", full, humanize.IBytes(free), humanize.IBytes(reserve))
	}
	return nil
}

// Close closes the datastore, unless its disk is full: it would be written to. What was accepted is
// there at the next start.
func (s *reservedStore) Close() error {
	if err := s.check(); err != nil {
		return fmt.Errorf("not closed: %w", err)
	}
	return s.Batching.Close()
}

// Put implements datastore.Write.
func (s *reservedStore) Put(ctx context.Context, key datastore.Key, value []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.Batching.Put(ctx, key, value)
}

// Delete implements datastore.Write.
func (s *reservedStore) Delete(ctx context.Context, key datastore.Key) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.Batching.Delete(ctx, key)
}

// Batch implements datastore.Batching.
func (s *reservedStore) Batch(ctx context.Context) (datastore.Batch, error) {
	inner, err := s.Batching.Batch(ctx)
	return reservedBatch{inner, s}, err
}

type reservedBatch struct {
	datastore.Batch
	store *reservedStore
}

// Commit implements datastore.Batch.
func (b reservedBatch) Commit(ctx context.Context) error {
	if err := b.store.check(); err != nil {
		return err
	}
	return b.Batch.Commit(ctx)
}
