package digest

import (
	"context"
	"errors"

	"github.com/ipfs/go-datastore"
)

// Row is a row by its hash.
type Row struct {
	Key  string
	Hash uint64
	// Absent: there is no such row.
	Absent bool
}

// InBuckets returns the rows of buckets, at most limit of them. It reads all rows.
func (s *Store) InBuckets(ctx context.Context, buckets []int, limit int) ([]Row, error) {
	var wanted [Buckets]bool
	for _, b := range buckets {
		if b >= 0 && b < Buckets {
			wanted[b] = true
		}
	}
	results, err := s.query(ctx, false)
	if err != nil {
		return nil, err
	}
	var rows []Row
	err = each(ctx, results, func(key string, value []byte) {
		row, ok := s.row(datastore.RawKey(key))
		if ok && len(rows) < limit && wanted[bucketOf(row)] {
			rows = append(rows, Row{Key: row, Hash: hashOf(row, value)})
		}
	})
	return rows, err
}

// Row returns a row as it is now.
func (s *Store) Row(ctx context.Context, row string) (Row, error) {
	value, err := s.Value(ctx, row)
	switch {
	case err != nil:
		return Row{}, err
	case value == nil:
		return Row{Key: row, Absent: true}, nil
	}
	return Row{Key: row, Hash: hashOf(row, value)}, nil
}

// Value returns the content of a row as it is now, nil when there is no such row.
func (s *Store) Value(ctx context.Context, row string) ([]byte, error) {
	value, err := s.Batching.Get(ctx, s.rows.Prefix.ChildString(s.rows.To(row)))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	if err == nil && value == nil {
		value = []byte{}
	}
	return value, err
}
