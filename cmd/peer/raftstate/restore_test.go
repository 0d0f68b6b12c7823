//go:build !race || nocheckptr

package raftstate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs-cluster/ipfs-cluster/datastore/inmem"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// trailing is how many entries a leader keeps after a snapshot. RAFTSTATE_TRAILING=10240 is Raft's own
// number.
func trailing(t *testing.T) int {
	text := os.Getenv("RAFTSTATE_TRAILING")
	if text == "" {
		return 64
	}
	n, err := strconv.Atoi(text)
	noError(t, err)
	return n
}

func smallLog(trailing int) func(*raft.Config) {
	return func(cfg *raft.Config) {
		cfg.RaftConfig.TrailingLogs = uint64(trailing)
		cfg.RaftConfig.SnapshotThreshold = uint64(trailing * 4 / 5)
		cfg.RaftConfig.SnapshotInterval = time.Second
	}
}

// write pins n contents by 32 clients and returns what was asked for.
func write(t *testing.T, m *member, from, n int) map[api.Cid]api.Pin {
	t.Helper()
	const clients = 32
	asked := make(map[api.Cid]api.Pin, n)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := client; i < n; i += clients {
				pin := api.PinCid(cidOf(from + i))
				pin.Name, pin.Timestamp = fmt.Sprint("pin ", from+i), time.Now()
				if err := again(func() error { return m.consensus.LogPin(t.Context(), pin) }); err != nil {
					t.Error(err)
				}
				mu.Lock()
				asked[pin.Cid] = pin
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return asked
}

// again repeats a write that a busy machine may lose its leader for.
func again(write func() error) (err error) {
	for range 5 {
		if err = write(); err == nil {
			return nil
		}
	}
	return err
}

// U32: a follower that was away for longer than the log kept what was removed meanwhile, and its
// own next snapshot made that permanent.
func TestRestore_RemovesWhatTheSnapshotDoesNotHave(t *testing.T) {
	t.Parallel()
	keep := trailing(t)
	for _, empty := range []bool{false, true} {
		t.Run(fmt.Sprint("empty=", empty), func(t *testing.T) {
			t.Parallel()
			all := members(t, 3, 0, smallLog(keep))
			lead := leader(t, all)
			away := all[0]
			if away == lead {
				away = all[1]
			}
			asked := write(t, lead, 0, 50)
			await.Success(t, "the follower has all", func() error { return away.expect(asked) })
			restored := make(chan Restored, 10)
			away.ours.OnRestore(func(r Restored) {
				restored <- r
				away.follower.Restored(r)
			})
			away.cut(all)
			gone := 20
			for i := range gone {
				noError(t, again(func() error { return lead.consensus.LogUnpin(t.Context(), asked[cidOf(i)]) }))
				delete(asked, cidOf(i))
			}
			for c, pin := range write(t, lead, 100, keep*2) {
				asked[c] = pin
			}
			if empty {
				for c, pin := range asked {
					noError(t, again(func() error { return lead.consensus.LogUnpin(t.Context(), pin) }))
					delete(asked, c)
				}
				// The snapshot has to be of the empty state.
				for i := range keep * 2 {
					noError(t, again(func() error { return lead.consensus.LogUnpin(t.Context(), api.PinCid(cidOf(i))) }))
				}
			}
			await.Success(t, "a snapshot of the leader", func() error {
				// There may be too few entries since one that came early.
				_ = lead.consensus.LogUnpin(t.Context(), api.PinCid(cidOf(0)))
				return lead.snapshotted(keep+100, empty)
			})
			away.heal(all)
			await.Success(t, "the follower has what the leader has", func() error { return away.expect(asked) })
			select {
			case r := <-restored:
				if len(r.Removed) < gone {
					t.Errorf("%d pins were removed, want %d at least", len(r.Removed), gone)
				}
			default:
				t.Error("no snapshot was installed")
			}
			await.Success(t, "the tracker follows", func() error { return away.follows(len(asked)) })
			away.clean()
			// Its own snapshot has the same.
			away.restart(all)
			away.awaitSync()
			if err := away.expect(asked); err != nil {
				t.Errorf("after a restart: %v", err)
			}
		})
	}
}

// A follower that has been away gets the entry of its own write with a snapshot now and then, and another
// peer may have changed the pin by then: the write waited for an entry that was never applied.
func TestConsensus_AnEntryThatComesWithASnapshotIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	m := members(t, 1, 0, nil)[0]
	others := api.PinCid(cidOf(1))
	others.Name = "what another peer made of it since"
	noError(t, again(func() error { return m.consensus.LogPin(t.Context(), others) }))
	row := mustProto(t, others)
	key := m.ours.store.key(others.Cid)
	for name, wait := range map[string]func(context.Context, expected) error{
		"a pin": func(ctx context.Context, entry expected) error {
			return m.ours.awaitPin(ctx, entry, others.Cid, mark{"nonce", []byte("the record")})
		},
		"a removal": func(ctx context.Context, entry expected) error {
			return m.ours.awaitRemoval(ctx, entry, others.Cid)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
			defer cancel()
			entry, forget := m.ours.store.expect("an entry of the snapshot")
			defer forget()
			ended := make(chan error, 1)
			go func() { ended <- wait(ctx, entry) }()
			m.ours.store.beginRestore()
			noError(t, m.ours.store.Put(ctx, key, row))
			m.ours.store.endRestore()
			noError(t, <-ended)
		})
	}
}

// snapshotted reports whether the last snapshot of a peer is of that entry or a later one, and is
// empty, or is not.
func (m *member) snapshotted(entry int, empty bool) error {
	// Folders are called <term>-<entry>-<time>.
	folders, err := filepath.Glob(filepath.Join(m.folder, "snapshots", "*-*-*"))
	if err != nil {
		return err
	}
	last := 0
	for _, folder := range folders {
		n, _ := strconv.Atoi(strings.Split(filepath.Base(folder), "-")[1])
		last = max(last, n)
	}
	if last < entry {
		return fmt.Errorf("the last snapshot is of entry %d", last)
	}
	r, found, err := raft.LastStateRaw(&raft.Config{DataFolder: m.folder})
	if err != nil || !found {
		return fmt.Errorf("found %t: %w", found, err)
	}
	content, err := io.ReadAll(r)
	if err == nil && (len(content) == 0) != empty {
		err = fmt.Errorf("it has %d bytes", len(content))
	}
	return err
}

func mustProto(t *testing.T, pin api.Pin) []byte {
	t.Helper()
	row, err := pin.ProtoMarshal()
	noError(t, err)
	return row
}

// Marks that peers of ipfs-cluster-service keep in their snapshots do not get into the state.
func TestOffline_HasNoMarks(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 2, nil)
	asked := make(map[api.Cid]api.Pin)
	s := newShapes(t, all)
	for i := range 30 {
		pin := s.pin(cidOf(i))
		noError(t, again(func() error { return all[2].consensus.LogPin(t.Context(), pin) }))
		asked[pin.Cid] = pin
	}
	theirs := all[0]
	await.Success(t, "the peer of ipfs-cluster-service has all", func() error {
		if n := len(theirs.list()); n != len(asked) {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	theirs.stop()
	cfg := &raft.Config{}
	noError(t, cfg.Default())
	cfg.DataFolder = theirs.folder
	st, err := Offline(cfg, inmem.New())
	noError(t, err)
	for c, want := range asked {
		got, err := st.Get(t.Context(), c)
		noError(t, err)
		if _, marked := got.Metadata[markKey]; marked {
			t.Errorf("pin %s has a mark", c)
		}
		gotRow, _ := got.ProtoMarshal()
		wantRow, _ := want.ProtoMarshal()
		if string(gotRow) != string(wantRow) {
			t.Errorf("pin %s is %+v, want %+v", c, got, want)
		}
	}
}

// Peers of ipfs-cluster-service beside one of ours: what they propose is kept as Raft merged it,
// what ours proposes is right at ours, and no mark is seen anywhere at ours.
func TestConsensus_BesideIpfsClusterService(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 2, nil)
	ours := all[2]
	for leader(t, all) == ours {
		ours.restart(all)
		ours.awaitSync()
	}
	s := newShapes(t, all)
	asked := make(map[api.Cid]api.Pin)
	for i := range 120 {
		from := all[s.IntN(3)]
		pin := s.pin(cidOf(s.IntN(40)))
		if i%10 == 0 {
			pin.Timestamp = time.Now().Add(time.Hour) // Another second than that of the pin before.
		}
		noError(t, from.consensus.LogPin(t.Context(), pin))
		if asked[pin.Cid] = pin; !from.plain {
			got, err := ours.get(pin.Cid)
			noError(t, err)
			if string(mustProto(t, got)) != string(mustProto(t, pin)) {
				t.Fatalf("the pin of our peer is %+v, want %+v", got, pin)
			}
		}
		if s.IntN(6) == 0 {
			noError(t, from.consensus.LogUnpin(t.Context(), pin))
			delete(asked, pin.Cid)
		}
	}
	ours.awaitSync() // It has applied what the others have committed.
	if n := len(ours.list()); n != len(asked) {
		t.Errorf("%d pins, want %d", n, len(asked))
	}
	for c, got := range ours.list() {
		want := asked[c]
		m := mark{record: mustProto(t, want)}
		if _, marked := got.Metadata[markKey]; marked || !m.describes(got) {
			gotText, _ := json.Marshal(got)
			wantText, _ := json.Marshal(want)
			t.Errorf("pin %s is\n%s, asked was\n%s", c, gotText, wantText)
		}
	}
	ours.clean()
}
