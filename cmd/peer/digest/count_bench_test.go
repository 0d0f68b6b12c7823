package digest

import (
	"fmt"
	"testing"

	"github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"
)

// BenchmarkCount compares a count of 200,000 records on the disk with reading them and
// nothing else.
func BenchmarkCount(b *testing.B) {
	pebble, err := pebbleds.NewDatastore(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = pebble.Close() })
	s, ctx := New(pebble, rowsOf()), b.Context()
	value := make([]byte, 300)
	for i := range 200_000 {
		if err := s.Put(ctx, keyOf(i), append(value, fmt.Sprint(i)...)); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			results, err := s.query(ctx, false)
			if err == nil {
				err = each(ctx, results, func(string, []byte) {})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if err := s.Count(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("put", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := s.Put(ctx, keyOf(i%200_000), value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain put", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := pebble.Put(ctx, datastore.RawKey(keyOf(i%200_000).String()), value); err != nil {
				b.Fatal(err)
			}
		}
	})
}
