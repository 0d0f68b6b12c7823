package digest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"pgregory.net/rapid"
)

// rowsOf are keys such as /c/s/k/<row>/v.
func rowsOf() Rows {
	return Rows{Prefix: datastore.NewKey("/c/k"), Of: func(key string) (string, bool) {
		row, ok := strings.CutSuffix(key, "/v")
		return row, ok
	}, To: func(row string) string { return row + "/v" }}
}

func keyOf(i int) datastore.Key { return datastore.NewKey(fmt.Sprintf("/c/k/row%d/v", i)) }

func newStore() *Store {
	return New(dssync.MutexWrap(datastore.NewMapDatastore()), rowsOf())
}

// counted is the digest of a full count of what a store has.
func counted(t interface{ Fatal(...any) }, s *Store) Digest {
	fresh := New(s.Batching, s.rows)
	if err := fresh.Count(context.Background()); err != nil {
		t.Fatal(err)
	}
	d, err := fresh.Current()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Whatever is written in whatever way, the digest is that of a full count.
func TestStore_DigestIsThatOfAFullCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, ctx := newStore(), t.Context()
		started := false
		begin := rapid.IntRange(0, 20).Draw(t, "count at")
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			if step == begin {
				if err := s.Count(ctx); err != nil {
					t.Fatal(err)
				}
				started = true
			}
			w := datastore.Write(s)
			size, commit := 1, func(context.Context) error { return nil }
			if rapid.Bool().Draw(t, "batch") {
				b, err := s.Batch(ctx)
				if err != nil {
					t.Fatal(err)
				}
				w, size, commit = b, rapid.IntRange(0, 6).Draw(t, "size"), b.Commit
			}
			for range size {
				key := keyOf(rapid.IntRange(0, 4).Draw(t, "row"))
				var err error
				switch rapid.IntRange(0, 3).Draw(t, "kind") {
				case 0:
					err = w.Delete(ctx, key)
				case 1:
					err = w.Put(ctx, datastore.NewKey("/c/k/row1/p"), []byte("no row"))
				default:
					err = w.Put(ctx, key, []byte(fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "value"))))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := commit(ctx); err != nil {
				t.Fatal(err)
			}
			if !started {
				continue
			}
			if got, err := s.Current(); err != nil || got != counted(t, s) {
				t.Fatalf("kept %s, counted %s (%v)", got, counted(t, s), err)
			}
		}
	})
}

// A count while rows are written is right at its end.
func TestStore_CountsWhileRowsAreWritten(t *testing.T) {
	s, ctx := newStore(), t.Context()
	for i := range 500 {
		if err := s.Put(ctx, keyOf(i), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range 400 {
				key := keyOf((w*331 + i*7) % 700)
				var err error
				if i%3 == 0 {
					err = s.Delete(ctx, key)
				} else {
					err = s.Put(ctx, key, []byte(fmt.Sprint(w, i)))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := s.Count(ctx); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if got, err := s.Current(); err != nil || got != counted(t, s) {
		t.Errorf("kept %s, counted %s (%v)", got, counted(t, s), err)
	}
}

type failing struct {
	datastore.Batching
	err error
}

func (f *failing) Put(context.Context, datastore.Key, []byte) error { return f.err }

// A digest that may be wrong is none.
func TestStore_HasNoDigestAfterAFailedWrite(t *testing.T) {
	inner := &failing{Batching: dssync.MutexWrap(datastore.NewMapDatastore()), err: errors.New("no space")}
	s, ctx := New(inner, rowsOf()), t.Context()
	if _, err := s.Current(); !errors.Is(err, ErrUnknown) {
		t.Errorf("before the count: %v", err)
	}
	if err := s.Count(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, keyOf(1), nil); !errors.Is(err, inner.err) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Current(); !errors.Is(err, ErrUnknown) {
		t.Errorf("after the failure: %v", err)
	}
	if err := s.Count(ctx); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Current(); err != nil || d.Count != 0 {
		t.Errorf("counted again: %s, %v", d, err)
	}
}

// Rows that differ are found by their buckets.
// What was refused before anything was done has no effect on the digest.
func TestStore_KeepsTheDigestOfWhatWasRefused(t *testing.T) {
	ctx, refused := t.Context(), errors.New("refused")
	rows := rowsOf()
	rows.Undone = func(err error) bool { return errors.Is(err, refused) }
	disk := &hooked{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	s := New(disk, rows)
	if err := errors.Join(s.Put(ctx, keyOf(1), []byte("value")), s.Count(ctx)); err != nil {
		t.Fatal(err)
	}
	before, err := s.Current()
	if err != nil {
		t.Fatal(err)
	}
	disk.put = func() error { return refused }
	if err := s.Put(ctx, keyOf(2), []byte("value")); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if now, err := s.Current(); err != nil || now != before {
		t.Errorf("%v, %v: it was %v", now, err, before)
	}
}

// A write may take as long as the disk is full. Who asks for the digest does not wait for it.
func TestStore_TheDigestDoesNotWaitForTheDisk(t *testing.T) {
	ctx := t.Context()
	disk := &hooked{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	s := New(disk, rowsOf())
	if err := s.Count(ctx); err != nil {
		t.Fatal(err)
	}
	reached, release := make(chan struct{}), make(chan struct{})
	disk.put = func() error { close(reached); <-release; return nil }
	var writer sync.WaitGroup
	writer.Go(func() { _ = s.Put(ctx, keyOf(1), []byte("value")) })
	<-reached
	asked := make(chan Digest)
	go func() {
		d, _ := s.Current()
		asked <- d
	}()
	select {
	case d := <-asked:
		if d.Count != 0 {
			t.Errorf("it counts what is not written yet: %v", d)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits as long as the disk is full")
	}
	close(release)
	writer.Wait()
	if d, err := s.Current(); err != nil || d != counted(t, s) || d.Count != 1 {
		t.Errorf("%v, %v", d, err)
	}
}

// hooked calls put before each Put, unless it is nil.
type hooked struct {
	datastore.Batching
	put func() error
}

func (h *hooked) Put(ctx context.Context, key datastore.Key, value []byte) error {
	if h.put != nil {
		if err := h.put(); err != nil {
			return err
		}
	}
	return h.Batching.Put(ctx, key, value)
}

func TestStore_BucketsTellWhereTwoDiffer(t *testing.T) {
	a, b, ctx := newStore(), newStore(), t.Context()
	for _, s := range []*Store{a, b} {
		if err := s.Count(ctx); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			if err := s.Put(ctx, keyOf(i), []byte("value")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Put(ctx, keyOf(7), []byte("another")); err != nil {
		t.Fatal(err)
	}
	ba, _ := a.CurrentBuckets()
	bb, _ := b.CurrentBuckets()
	var differ []int
	for i := range ba {
		if ba[i] != bb[i] {
			differ = append(differ, i)
		}
	}
	rows, err := a.InBuckets(ctx, differ, 100)
	if err != nil || len(differ) != 1 || len(rows) == 0 || len(rows) > 10 {
		t.Fatalf("buckets %v have the rows %v (%v)", differ, rows, err)
	}
	one, err := a.Row(ctx, "row7")
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Row(ctx, "row7")
	if err != nil || one == other || one.Key != "row7" {
		t.Errorf("%v and %v (%v)", one, other, err)
	}
	if none, err := a.Row(ctx, "row1000"); err != nil || !none.Absent {
		t.Errorf("a row that is not there: %v, %v", none, err)
	}
	if limited, err := a.InBuckets(ctx, differ, 0); err != nil || len(limited) != 0 {
		t.Errorf("beyond the limit: %v, %v", limited, err)
	}
}

func TestDigest_IsReadAsItWasWritten(t *testing.T) {
	d := Digest{Count: 12, Sum: 0xab}
	if got, err := Parse(d.String()); err != nil || got != d {
		t.Errorf("%s became %s (%v)", d, got, err)
	}
	for _, text := range []string{"", "1", "1:2", "2:3:4", "1:x:4", "1:3:xyz"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func BenchmarkStore_Put(b *testing.B) {
	for _, count := range []bool{false, true} {
		b.Run(fmt.Sprintf("counted=%t", count), func(b *testing.B) {
			s, ctx := newStore(), b.Context()
			if count {
				if err := s.Count(ctx); err != nil {
					b.Fatal(err)
				}
			}
			value := make([]byte, 300)
			for i := 0; b.Loop(); i++ {
				if err := s.Put(ctx, keyOf(i%100_000), value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
