package peer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	pebbleconfig "github.com/ipfs-cluster/ipfs-cluster/datastore/pebble"

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
