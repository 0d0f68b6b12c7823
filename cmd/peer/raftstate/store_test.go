package raftstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/datastore/inmem"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs-cluster/ipfs-cluster/state/dsstate"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// applied is a state on a Store, fed as Raft feeds it.
type applied struct {
	t     *testing.T
	store *Store
	state *dsstate.State
}

func newApplied(t *testing.T) applied {
	t.Helper()
	store := NewStore(inmem.New(), "/r")
	st, err := dsstate.New(t.Context(), store, "/r", dsstate.DefaultHandle())
	check(t, err)
	return applied{t, store, st}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func raw(t *testing.T, text string) api.Cid {
	t.Helper()
	hash, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	check(t, err)
	return api.NewCid(cid.NewCidV1(cid.Raw, hash))
}

// add is an entry as Raft merged it.
func (a applied) add(pin api.Pin) {
	a.t.Helper()
	check(a.t, a.state.Add(a.t.Context(), pin))
}

func (a applied) name(c api.Cid) string {
	a.t.Helper()
	pin, err := a.state.Get(a.t.Context(), c)
	check(a.t, err)
	if _, marked := pin.Metadata[markKey]; marked {
		a.t.Errorf("pin %s has a mark", c)
	}
	return pin.Name
}

func namedPin(c api.Cid, name string, second int64) api.Pin {
	pin := api.PinCid(c)
	pin.Name, pin.Timestamp = name, time.Unix(1_800_000_000+second, 0)
	return pin
}

func mustMark(t *testing.T, pin api.Pin) api.Pin {
	t.Helper()
	pin, _, _, err := marked(pin)
	check(t, err)
	return pin
}

func TestStore_AMarkOfTheEntryWins(t *testing.T) {
	a, c := newApplied(t), raw(t, "one")
	merged := mustMark(t, namedPin(c, "", 1))
	merged.Name = "inherited"
	a.add(merged)
	if got := a.name(c); got != "" {
		t.Errorf("name %q", got)
	}
	// Raft commits an entry again when it does not know that it has.
	a.add(merged)
	if got := a.name(c); got != "" {
		t.Errorf("the second time: name %q", got)
	}
}

func TestStore_AMarkOfAnotherEntryIsDropped(t *testing.T) {
	one, two := raw(t, "one"), raw(t, "two")
	for what, make := range map[string]func(first api.Pin) api.Pin{
		"of another CID": func(first api.Pin) api.Pin {
			pin := namedPin(two, "theirs", 1)
			pin.Metadata = first.Metadata
			return pin
		},
		"of the same CID": func(first api.Pin) api.Pin {
			pin := namedPin(one, "theirs", 2)
			pin.Metadata = first.Metadata
			return pin
		},
		"of the same CID and second, with a name where it had none": func(first api.Pin) api.Pin {
			first.Name = "theirs"
			return first
		},
		"copied from a state, later": func(first api.Pin) api.Pin {
			pin := namedPin(one, "theirs", 9)
			pin.Metadata = first.Metadata
			return pin
		},
		"that is none": func(api.Pin) api.Pin {
			pin := namedPin(one, "theirs", 2)
			pin.Metadata = map[string]string{markKey: noMark}
			return pin
		},
		"that cannot be read": func(api.Pin) api.Pin {
			pin := namedPin(one, "theirs", 2)
			pin.Metadata = map[string]string{markKey: "x ===="}
			return pin
		},
		"whose record cannot be read": func(api.Pin) api.Pin {
			pin := namedPin(one, "theirs", 2)
			pin.Metadata = map[string]string{markKey: mark{"x", []byte{0xff, 0xff}}.String()}
			return pin
		},
	} {
		t.Run(what, func(t *testing.T) {
			a := newApplied(t)
			first := mustMark(t, namedPin(one, "", 1))
			a.add(first)
			theirs := make(first)
			a.add(theirs)
			if got := a.name(theirs.Cid); got != "theirs" {
				t.Errorf("name %q", got)
			}
		})
	}
}

// Whoever sends a mark that is not true of the pin gets a new one.
func TestMarked_KeepsTrueMarksAlone(t *testing.T) {
	pin := namedPin(raw(t, "one"), "name", 1)
	pin.Metadata = map[string]string{"key": "value"}
	before := maps.Clone(pin.Metadata)
	once := mustMark(t, pin)
	if !maps.Equal(pin.Metadata, before) {
		t.Error("the caller's metadata were changed")
	}
	if again := mustMark(t, once); again.Metadata[markKey] != once.Metadata[markKey] {
		t.Error("a redirected pin got another mark")
	}
	forged := once
	forged.Name = "other"
	if m, ok := parseMark(mustMark(t, forged).Metadata[markKey]); !ok || !m.describes(forged) {
		t.Error("a forged mark was kept")
	}
}

func TestStore_OtherKeysPassThrough(t *testing.T) {
	store := NewStore(inmem.New(), "/r")
	key, value := datastore.NewKey("/peers/x"), []byte(markKey)
	check(t, store.Put(t.Context(), key, value))
	got, err := store.Get(t.Context(), key)
	check(t, err)
	if string(got) != string(value) {
		t.Errorf("%q", got)
	}
	check(t, store.Delete(t.Context(), key))
	if _, err := store.Get(t.Context(), key); !errors.Is(err, datastore.ErrNotFound) {
		t.Errorf("after Delete: %v", err)
	}
}

// A restore that fails removes nothing; the next one is complete.
func TestStore_AFailedRestoreRemovesNothing(t *testing.T) {
	a, kept, gone := newApplied(t), raw(t, "kept"), raw(t, "gone")
	a.add(mustMark(t, namedPin(kept, "old", 1)))
	a.add(mustMark(t, namedPin(gone, "gone", 1)))
	var changes []Restored
	a.store.OnRestore(func(r Restored) { changes = append(changes, r) })
	logger := restoreLogger{hclog.NewNullLogger(), a.store}
	row := func(pin api.Pin) {
		t.Helper()
		record, err := pin.ProtoMarshal()
		check(t, err)
		check(t, a.store.Put(t.Context(), a.store.key(pin.Cid), record))
	}
	logger.With("id", "x", argSnapshotSize, 1)
	logger.Error(msgRestoreFailed)
	logger.Info(msgInstalled)
	if got := a.name(gone); got != "gone" || len(changes) != 0 {
		t.Fatalf("after the failure: %q, %v", got, changes)
	}
	logger.With("id", "y", argSnapshotSize, 1)
	marked := mustMark(t, namedPin(kept, "new", 2))
	marked.Metadata[markKey+"x"] = "inherited"
	row(marked)
	logger.Info(msgInstalled)
	if _, err := a.state.Get(t.Context(), gone); err == nil || a.name(kept) != "new" {
		t.Errorf("after the restore: %v, %q", err, a.name(kept))
	}
	if len(changes) != 1 || len(changes[0].Written) != 1 || len(changes[0].Removed) != 1 || changes[0].Removed[0] != gone {
		t.Errorf("changes %v", changes)
	}
	// What comes next is an entry again.
	a.add(namedPin(gone, "again", 3))
	if a.name(gone) != "again" || a.store.restore != nil {
		t.Error("the restore goes on")
	}
}

// A snapshot that this peer takes when the rows of one are in the state, and what it lacks is not gone yet, has
// no more than that one. It had it for good, and a restart brought removed pins back.
func TestStore_ASnapshotOfItsOwnWaitsForTheEndOfARestore(t *testing.T) {
	a, kept, gone := newApplied(t), raw(t, "kept"), raw(t, "gone")
	a.add(mustMark(t, namedPin(kept, "kept", 1)))
	a.add(mustMark(t, namedPin(gone, "gone", 1)))
	for _, end := range []func(restoreLogger){
		func(l restoreLogger) { l.Error(msgRestoreFailed) },
		func(l restoreLogger) { l.Info(msgInstalled) },
	} {
		logger := restoreLogger{hclog.NewNullLogger(), a.store}
		logger.With("id", "x", argSnapshotSize, 1)
		record, err := namedPin(kept, "kept", 1).ProtoMarshal()
		check(t, err)
		check(t, a.store.Put(t.Context(), a.store.key(kept), record))
		given, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.store.Query(given, query.Query{Prefix: a.store.namespace.String()}); !errors.Is(err, context.Canceled) {
			t.Errorf("a query during the restore: %v", err)
		}
		others, err := a.store.Query(t.Context(), query.Query{Prefix: "/peers"})
		check(t, err)
		check(t, others.Close())
		snapshot := make(chan error, 1)
		var taken bytes.Buffer
		go func() { snapshot <- a.state.Marshal(&taken) }()
		end(logger)
		check(t, <-snapshot)
		_, err = a.state.Get(t.Context(), gone)
		if has := bytes.Contains(taken.Bytes(), []byte("gone")); has != (err == nil) {
			t.Errorf("the snapshot has the pin: %v, the state: %v", has, err)
		}
	}
	if _, err := a.state.Get(t.Context(), gone); err == nil {
		t.Error("the removed pin is there")
	}
}

func TestBarrier_IsKnown(t *testing.T) {
	c, err := barrierCID()
	check(t, err)
	if !isBarrier(c) || isBarrier(raw(t, "one")) || isBarrier(api.CidUndef) {
		t.Error("barriers are not told from pins")
	}
}

// full is a datastore that takes no change while it is full.
type full struct {
	datastore.Datastore
	full    atomic.Bool
	refused atomic.Int32
	// listed, if any, is told of each query, which then waits for its end.
	listed atomic.Pointer[hold]
}

func (f *full) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if listed := f.listed.Load(); listed != nil {
		if err := listed.wait(); err != nil {
			return nil, err
		}
	}
	return f.Datastore.Query(ctx, q)
}

func (f *full) Put(ctx context.Context, key datastore.Key, row []byte) error {
	if f.full.Load() {
		f.refused.Add(1)
		return errors.New("no space left on device")
	}
	return f.Datastore.Put(ctx, key, row)
}

func (f *full) Delete(ctx context.Context, key datastore.Key) error {
	if f.full.Load() {
		f.refused.Add(1)
		return errors.New("no space left on device")
	}
	return f.Datastore.Delete(ctx, key)
}

// A snapshot was restored half-way when the disk was full, and again later: nobody was told of what the
// first try had changed.
func TestStore_TellsWhatAFailedRestoreHasChanged(t *testing.T) {
	disk := &full{Datastore: inmem.New()}
	store := NewStore(disk, "/r")
	var told []Restored
	store.OnRestore(func(r Restored) { told = append(told, r) })
	first, second := api.PinCid(raw(t, "first")), api.PinCid(raw(t, "second"))
	put := func(pin api.Pin) error {
		row, err := pin.ProtoMarshal()
		check(t, err)
		return store.Put(t.Context(), store.key(pin.Cid), row)
	}
	store.beginRestore()
	check(t, put(first))
	disk.full.Store(true)
	if put(second) == nil {
		t.Error("the disk is not full")
	}
	store.abandonRestore()
	disk.full.Store(false)
	for range 2 {
		store.beginRestore()
		check(t, put(first))
		check(t, put(second))
		store.endRestore()
	}
	if len(told) != 1 || len(told[0].Written) != 2 || len(told[0].Removed) != 0 {
		t.Errorf("told of %+v", told)
	}
}

// What a snapshot lacks could not be removed when the disk was full, and stayed until the peer was started anew.
func TestStore_TheEndOfARestoreWaitsForSpace(t *testing.T) {
	for _, stop := range []bool{false, true} {
		t.Run(fmt.Sprint("stop=", stop), func(t *testing.T) {
			disk := &full{Datastore: inmem.New()}
			store := NewStore(disk, "/r")
			var told []Restored
			store.OnRestore(func(r Restored) { told = append(told, r) })
			st, err := dsstate.New(t.Context(), store, "/r", dsstate.DefaultHandle())
			check(t, err)
			gone := raw(t, "gone")
			check(t, st.Add(t.Context(), mustMark(t, namedPin(gone, "gone", 1))))
			store.beginRestore()
			disk.full.Store(true)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				store.endRestore()
			}()
			await.True(t, "a removal that is tried again", func() bool { return disk.refused.Load() > 1 })
			snapshot := make(chan error, 1)
			go func() { snapshot <- st.Marshal(io.Discard) }()
			if stop {
				store.stop()
			} else {
				disk.full.Store(false)
			}
			<-ended
			if err := <-snapshot; stop != errors.Is(err, errStopped) {
				t.Errorf("the peer's own snapshot: %v", err)
			}
			if _, err := st.Get(t.Context(), gone); stop == errors.Is(err, state.ErrNotFound) {
				t.Errorf("the removed pin: %v", err)
			}
			if got := len(told) == 1 && slices.Equal(told[0].Removed, []api.Cid{gone}); got == stop {
				t.Errorf("told of %+v", told)
			}
		})
	}
}
