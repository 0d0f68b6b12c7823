package crdtstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state/dsstate"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// modelKeys is how many pins the peers of the model write.
const modelKeys = 3

func modelPin(key int, name string) api.Pin {
	sum, err := multihash.Sum([]byte{byte(key)}, multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // SHA2-256 is always there.
	}
	return api.PinWithOpts(api.NewCid(cid.NewCidV1(cid.Raw, sum)), api.PinOptions{Name: name})
}

func modelKey(key int) string {
	return dshelp.NewKeyFromBinary(modelPin(key, "").Cid.Bytes()).String()[1:]
}

// unknownEffects know nothing, so that the state is read.
type unknownEffects struct{}

func (unknownEffects) Begun() bool                                      { return true }
func (unknownEffects) Synced() bool                                     { return false }
func (unknownEffects) Err() error                                       { return nil }
func (unknownEffects) Of(api.Cid) groupcommit.Effect                    { return groupcommit.EffectNone }
func (unknownEffects) Before(api.Cid) (api.Pin, bool, bool)             { return api.Pin{}, false, false }
func (unknownEffects) Undo(ctx context.Context, _ bool) context.Context { return ctx }
func (unknownEffects) OnSynced(func())                                  {}

// walkIncoming is how the daemon tells the Committer of walks.
type walkIncoming struct{ *Store }

func (w walkIncoming) Awaits(mark uint64) bool { return w.HoldsBack(mark, stall) }
func (w walkIncoming) Came() <-chan struct{}   { return w.WalkEnded() }

// acknowledged is a change of the peer under test that was answered with success.
type acknowledged struct {
	key  int
	name string // "": a removal
	// older are the values of the key that were on their way when the change came. There are none for
	// a pin that the peer does not have, or is removing: new pins do not wait (D12).
	older map[string]bool
}

// model is a peer that commits and merges changes of another one, whose blocks come when the test lets
// them.
type model struct {
	t            *testing.T
	theirs, ours *replica
	state        *dsstate.BatchingState
	committer    *groupcommit.Committer
	random       *rand.Rand
	writes       sync.WaitGroup

	mu       sync.Mutex
	acks     []acknowledged
	removing map[int]int // by key; not answered yet
}

func newModel(t *testing.T, seed uint64, waits bool) *model {
	m := &model{t: t, random: rand.New(rand.NewPCG(seed, 0)), removing: make(map[int]int)}
	m.theirs, m.ours = start(t, newDisk(), false), start(t, newDisk(), false)
	m.ours.network.gate = make(chan struct{}, 1000)
	m.ours.reach(m.theirs)
	var err error
	m.state, err = dsstate.NewBatching(t.Context(), m.theirs.crdt, "", dsstate.DefaultHandle())
	noError(t, err)
	ours, err := dsstate.NewBatching(t.Context(), m.ours.crdt, "", dsstate.DefaultHandle())
	noError(t, err)
	cfg := groupcommit.Config{
		State: ours,
		Watch: func(ctx context.Context) (context.Context, groupcommit.Effects) { return ctx, unknownEffects{} },
	}
	if waits {
		cfg.Incoming = walkIncoming{m.ours.store}
	}
	m.committer = groupcommit.New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		noError(t, m.committer.Close(ctx))
	})
	return m
}

// onTheirWay are the values of a key in blocks below the open branches, of walks that have begun.
func (m *model) onTheirWay(key int) map[string]bool {
	m.ours.store.walks.mu.Lock()
	open := slices.Collect(maps.Keys(m.ours.store.walks.open))
	m.ours.store.walks.mu.Unlock()
	values, seen := make(map[string]bool), make(map[string]bool)
	for len(open) > 0 {
		id := open[0]
		open = open[1:]
		known, err := m.ours.store.Batching.Has(m.t.Context(), m.ours.store.keys.processed(id))
		noError(m.t, err)
		if known || seen[id] {
			continue
		}
		seen[id] = true
		b, err := m.theirs.store.readBlock(m.t.Context(), id)
		if errors.Is(err, datastore.ErrNotFound) {
			continue
		}
		noError(m.t, err)
		if value := b.greatest(modelKey(key)); value != nil {
			values[nameOf(m.t, value)] = true
		}
		open = append(open, b.links...)
	}
	return values
}

func nameOf(t *testing.T, value []byte) string {
	var pin api.Pin
	noError(t, pin.ProtoUnmarshal(value))
	return pin.Name
}

// write has a change of this peer come.
func (m *model) write(n int) {
	w := acknowledged{key: m.random.IntN(modelKeys)}
	if m.random.IntN(3) > 0 {
		w.name = fmt.Sprint("ours ", n)
	}
	if m.has(w.key) {
		w.older = m.onTheirWay(w.key)
	}
	m.mu.Lock()
	if w.name == "" {
		m.removing[w.key]++
	}
	m.mu.Unlock()
	came := make(chan struct{})
	m.writes.Go(func() {
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if w.name == "" {
				m.removing[w.key]--
			}
		}()
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		close(came)
		var err error
		if pin := modelPin(w.key, w.name); w.name == "" {
			err = m.committer.Unpin(ctx, pin.Cid)
		} else {
			err = m.committer.Pin(ctx, pin)
		}
		if err != nil {
			return // Nothing was promised.
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.acks = append(m.acks, w)
	})
	<-came
}

// has reports whether the peer has a pin, and nobody is removing it.
func (m *model) has(key int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.removing[key] > 0 {
		return false
	}
	has, err := m.ours.crdt.Has(m.t.Context(), datastore.NewKey(modelKey(key)))
	noError(m.t, err)
	return has
}

// step does one of the things that may happen.
func (m *model) step(n int) {
	switch m.random.IntN(6) {
	case 0, 1:
		pin := modelPin(m.random.IntN(modelKeys), fmt.Sprint("theirs ", n))
		noError(m.t, m.state.Add(m.t.Context(), pin))
		noError(m.t, m.state.Commit(m.t.Context()))
	case 2:
		heads := m.theirs.heads()
		go func() {
			select {
			case m.ours.feed.in <- heads:
			case <-m.t.Context().Done():
			}
		}()
	case 3:
		m.write(n)
	default:
		for range 1 + m.random.IntN(3) {
			select {
			case m.ours.network.gate <- struct{}{}:
			default:
			}
		}
		time.Sleep(time.Duration(m.random.IntN(300)) * time.Microsecond) // So that schedules differ; nothing is awaited.
	}
}

// violations are the changes that were undone by what was older.
func (m *model) violations() (found []string) {
	final := make(map[int]string)
	for key := range modelKeys {
		value, err := m.ours.crdt.Get(m.t.Context(), datastore.NewKey(modelKey(key)))
		if !errors.Is(err, datastore.ErrNotFound) {
			noError(m.t, err)
			final[key] = nameOf(m.t, value)
		}
	}
	for _, w := range m.acks {
		if name, ok := final[w.key]; ok && w.older[name] {
			found = append(found, fmt.Sprintf("%q of pin %d, which was answered, lost against %q", w.name, w.key, name))
		}
	}
	return found
}

// run plays a model to its end.
func (m *model) run() {
	noError(m.t, m.ours.put("own", "head"))
	for n := range 60 {
		m.step(n)
	}
	close(m.ours.network.gate)
	m.ours.hear(m.theirs.heads())
	m.writes.Wait()
	converge(m.t, m.theirs, m.ours)
}

// A peer changes pins while it merges changes of another one, in any order of what comes, what was
// heard of and what is asked for. No change that was answered loses against a value that was on its
// way when the change came: that is what changes wait for (U51), and for no more.
func TestModel_WhatWasAnsweredIsNotUndoneByOlderValues(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			m := newModel(t, seed, true)
			m.run()
			for _, v := range m.violations() {
				t.Error(v)
			}
		})
	}
}

// The model finds what is lost without the waits.
func TestModel_FindsWhatIsUndone(t *testing.T) {
	for seed := range uint64(400) {
		lost := 0
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			m := newModel(t, seed, false)
			m.run()
			lost = len(m.violations())
		})
		if lost > 0 {
			return
		}
	}
	t.Error("nothing was lost in any order")
}
