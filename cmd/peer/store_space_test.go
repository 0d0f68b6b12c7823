package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	pebbleconfig "github.com/ipfs-cluster/ipfs-cluster/datastore/pebble"
	"github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// A store whose disk is full refuses changes at once, answers reads, and accepts changes again by
// itself. Without that pebble ends the process (U52 in docs/upstream-faults.md).
func TestStoreSpace_AFullDiskRefusesWritesUntilThereIsSpace(t *testing.T) {
	var full atomic.Bool
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	cfg := &pebbleconfig.Config{PebbleOptions: pebble.Options{FS: disk}}
	space := &storeSpace{fits: func(string) bool { return !full.Load() }, retry: time.Millisecond}
	space.watch(cfg)
	r := startReplica(t, openPebble(t, cfg.PebbleOptions.FS), groupcommit.Config{})
	opened, err := r.open(t.Context())
	noError(t, err)
	space.bind(opened.committer)
	noError(t, r.LogPin(t.Context(), testPin(0, "before")))

	full.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = r.LogPin(ctx, testPin(1, "begun"))
	if !errors.Is(err, groupcommit.ErrUncertain) || !errors.Is(err, errStoreFull) {
		t.Errorf("the change that filled the disk: %v", err)
	}
	for range 10 {
		err := r.LogUnpin(ctx, testPin(0, ""))
		if !errors.Is(err, groupcommit.ErrUnavailable) || !errors.Is(err, errStoreFull) || errors.Is(err, groupcommit.ErrUncertain) {
			t.Errorf("a change on a full disk: %v", err)
		}
		if name := r.name(t, testCID(0)); name != "before" {
			t.Errorf("a read on a full disk: %q", name)
		}
	}
	if space.Full() == nil {
		t.Error("the store does not say that it is full")
	}
	full.Store(false)
	await.Success(t, "changes are accepted", func() error { return r.LogUnpin(t.Context(), testPin(0, "")) })
	awaitNames(t, r, "", "begun")
	if err := space.Full(); err != nil {
		t.Error(err)
	}
}

// Only tables may fail: they are written again.
func TestStoreSpace_TablesDoNotWait(t *testing.T) {
	base := vfs.NewMem()
	cfg := &pebbleconfig.Config{PebbleOptions: pebble.Options{FS: base}}
	(&storeSpace{}).watch(cfg)
	for name, waits := range map[string]bool{"000001.sst": false, "000002.log": true, "MANIFEST-000003": true} {
		f, err := cfg.PebbleOptions.FS.Create(name, vfs.WriteCategoryUnspecified)
		noError(t, err)
		plain, err := base.Create("plain", vfs.WriteCategoryUnspecified)
		noError(t, err)
		if sameType := fmt.Sprintf("%T", f) == fmt.Sprintf("%T", plain); sameType == waits {
			t.Errorf("%s is %T", name, f)
		}
		noError(t, errors.Join(f.Close(), plain.Close()))
	}
}

// A start after a kill writes the tables of what is in the log alone, and pebble is not open before. It
// waits for space, and says so (U110 in docs/upstream-faults.md).
func TestStoreSpace_AStartAfterAKillWaitsForSpace(t *testing.T) {
	disk := vfs.NewCrashableMem()
	store := openPebble(t, disk)
	for i := range 100 {
		noError(t, store.Put(t.Context(), datastore.NewKey(fmt.Sprint(i)), []byte("value")))
	}
	noError(t, store.Sync(t.Context(), datastore.NewKey("/")))
	var full atomic.Bool
	full.Store(true)
	var writes atomic.Int32
	killed := errorfs.Wrap(disk.CrashClone(vfs.CrashCloneCfg{}), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite {
			writes.Add(1)
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	cfg := &pebbleconfig.Config{PebbleOptions: pebble.Options{FS: killed}}
	space := &storeSpace{fits: func(string) bool { return !full.Load() }, retry: time.Millisecond}
	space.watch(cfg)
	type result struct {
		store datastore.Datastore
		err   error
	}
	opened := make(chan result, 1)
	go func() {
		again, err := space.open(t.Context(), func() (datastore.Datastore, error) {
			return pebbleds.NewDatastore("/store", pebbleds.WithPebbleOpts(&cfg.PebbleOptions))
		})
		opened <- result{again, err}
	}()
	await.Success(t, "the store says that it is full", func() error {
		if space.Full() == nil {
			return errors.New("it does not")
		}
		return nil
	})
	if n := writes.Load(); n > 1 {
		t.Errorf("%d writes were tried on a full disk", n)
	}
	full.Store(false)
	r := <-opened
	noError(t, r.err)
	defer func() { noError(t, r.store.Close()) }()
	value, err := r.store.Get(t.Context(), datastore.NewKey("99"))
	noError(t, err)
	if string(value) != "value" || space.Full() != nil {
		t.Errorf("after the start: %q, %v", value, space.Full())
	}
}

// A table that is larger than the probe is begun again and again: not at once each time.
func TestStoreSpace_ADiskThatIsFullAgainIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fit bool
		space := &storeSpace{fits: func(string) bool { defer func() { fit = !fit }(); return fit }}
		wait := func() time.Duration {
			began := time.Now()
			space.wait("")
			return time.Since(began)
		}
		for i, want := range []time.Duration{1, 2, 3, 5, 9, 11, 11} {
			if got := wait(); got != want*time.Second {
				t.Errorf("wait %d took %s, want %ds", i+1, got, want)
			}
		}
		time.Sleep(2 * spaceRetryMax)
		if got := wait(); got != spaceRetry {
			t.Errorf("the wait after a pause took %s", got)
		}
	})
}
