package raftstate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
)

// Store is the datastore that Raft keeps the state in. Below its namespace it stores records as
// they were asked for, and never a mark. Everything else passes through.
type Store struct {
	datastore.Datastore
	namespace datastore.Key
	hold      *hold // Nil where entries need no RPC client.
	offline   bool  // All that is put are rows of a snapshot, and nothing ends that.

	// pending is the restore that queries wait for.
	pending atomic.Pointer[restore]
	// stopped ends what waits for the disk.
	stopped  chan struct{}
	stopOnce sync.Once

	mu       sync.Mutex
	last     entry // The last one with a mark of its own.
	told     bool  // That records are kept as Raft merged them.
	restore  *restore
	restored func(Restored)
	// unfinished are the rows that a restore changed which failed; nil: none did since the last one.
	unfinished map[datastore.Key]struct{}

	waiters  map[string]map[chan struct{}]struct{}
	snapshot chan struct{} // Closed and replaced when one has been restored.
	watches  map[*watch]struct{}
}

// entry identifies an entry of the log by its mark, and by what Raft made of it.
type entry struct {
	nonce  string
	merged [sha256.Size]byte
}

// NewStore wraps a datastore whose keys below the namespace are those of the state.
func NewStore(inner datastore.Datastore, namespace string) *Store {
	return &Store{
		Datastore: inner, namespace: datastore.NewKey(namespace),
		stopped: make(chan struct{}), waiters: make(map[string]map[chan struct{}]struct{}),
		snapshot: make(chan struct{}), watches: make(map[*watch]struct{}),
	}
}

// Put implements datastore.Write. The state puts the rows of a snapshot while one is being
// restored, and the record of an entry of the log otherwise.
func (s *Store) Put(ctx context.Context, key datastore.Key, row []byte) error {
	if !s.namespace.IsAncestorOf(key) {
		return s.Datastore.Put(ctx, key, row)
	}
	if err := s.held(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restore != nil {
		row = withoutMark(row)
		s.restore.put(ctx, s.Datastore, key, row)
		return s.Datastore.Put(ctx, key, row)
	}
	row, nonce := s.ofEntry(row)
	s.touch(key)
	err := s.untilWritten(func() error { return s.Datastore.Put(ctx, key, row) })
	if err == nil {
		s.wake(nonce)
	}
	return err
}

// writePause is the time between two tries to write an entry.
const writePause = 250 * time.Millisecond

// untilWritten repeats a write of an entry that fails, as on a full disk, until the peer is stopped. An
// entry that cannot be applied makes Raft take the state for inconsistent until the next start (U104 in
// docs/upstream-faults.md). It needs the lock, and gives it away in between; Raft applies nothing else meanwhile.
func (s *Store) untilWritten(write func() error) error {
	told := false
	for {
		err := write()
		if err == nil || errors.Is(err, datastore.ErrNotFound) {
			if told {
				log.Info("changes of the shared state are written again")
			}
			return err
		}
		if !told {
			told = true
			log.Errorf("writing a change of the shared state: %s: it is tried again until it succeeds", err)
		}
		s.mu.Unlock()
		pause := time.NewTimer(writePause)
		select {
		case <-pause.C:
		case <-s.stopped:
		}
		pause.Stop()
		s.mu.Lock()
		select {
		case <-s.stopped:
			return err
		default:
		}
	}
}

// stop ends waiting for the disk. The entry is applied at the next start.
func (s *Store) stop() { s.stopOnce.Do(func() { close(s.stopped) }) }

// Delete implements datastore.Write. A key that is not there is reported, which the state ignores:
// otherwise it would count one pin less.
func (s *Store) Delete(ctx context.Context, key datastore.Key) error {
	if !s.namespace.IsAncestorOf(key) {
		return s.Datastore.Delete(ctx, key)
	}
	if err := s.held(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch(key)
	has := false
	err := s.untilWritten(func() (err error) {
		if has, err = s.Datastore.Has(ctx, key); err == nil && has {
			err = s.Datastore.Delete(ctx, key)
		}
		return err
	})
	if err != nil && !errors.Is(err, datastore.ErrNotFound) {
		return err
	}
	s.wake(key.String())
	if !has {
		return datastore.ErrNotFound
	}
	return nil
}

// ofEntry returns the record that an entry asked for, and the nonce of its mark. It depends on the
// entries of the log alone, so it is the same on every peer, and when the log is applied again: each
// entry that a peer of this kind proposed has a mark of its own. One that ipfs-cluster-service proposed shows the mark
// of an entry before it; it is kept as Raft merged it (U30 in docs/upstream-faults.md).
func (s *Store) ofEntry(row []byte) (record []byte, nonce string) {
	if !bytes.Contains(row, []byte(markKey)) {
		s.tellMerged()
		return row, ""
	}
	merged, m, ok := unmarked(row)
	this := entry{m.nonce, sha256.Sum256(row)}
	// An entry that Raft committed twice has the same mark, and is the same otherwise.
	if ok && m.describes(merged) && (m.nonce != s.last.nonce || this == s.last) {
		s.last = this
		return m.record, m.nonce
	}
	s.tellMerged()
	return proto(merged, row), ""
}

// withoutMark returns the row of a snapshot without the mark that it has when a peer of
// ipfs-cluster-service made it.
func withoutMark(row []byte) []byte {
	if !bytes.Contains(row, []byte(markKey)) {
		return row
	}
	merged, m, ok := unmarked(row)
	if ok && m.describes(merged) {
		return m.record
	}
	return proto(merged, row)
}

// proto is the protobuf form of a pin that was read from one.
func proto(pin api.Pin, otherwise []byte) []byte {
	if record, err := pin.ProtoMarshal(); err == nil && pin.Cid.Defined() {
		return record
	}
	return otherwise
}

func (s *Store) tellMerged() {
	if s.told {
		return
	}
	s.told = true
	log.Warn("Raft's log has pins that ipfs-cluster-service or an older version proposed. " +
		"What such a pin leaves empty (name, metadata, expiry, origins) Raft fills from the pin before it; " +
		"they are kept so (U30 in docs/upstream-faults.md)")
}

// key is where the state keeps a pin.
func (s *Store) key(c api.Cid) datastore.Key {
	return s.namespace.Child(dshelp.NewKeyFromBinary(c.Bytes()))
}

// cid is the pin that is kept there.
func (s *Store) cid(key datastore.Key) (api.Cid, error) {
	raw, err := dshelp.BinaryFromDsKey(datastore.NewKey(key.BaseNamespace()))
	if err != nil {
		return api.CidUndef, err
	}
	return api.CastCid(raw)
}

// expected is an entry that somebody waits for.
type expected struct {
	applied <-chan struct{} // closed when the entry is applied
	// restored is closed when a snapshot is restored, which may contain the entry: it is not applied then.
	restored <-chan struct{}
}

// expect returns what tells of an entry with that nonce, or one that removes that key. The caller calls
// forget when it waits no longer.
func (s *Store) expect(event string) (e expected, forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiter := make(chan struct{})
	if s.waiters[event] == nil {
		s.waiters[event] = make(map[chan struct{}]struct{})
	}
	s.waiters[event][waiter] = struct{}{}
	return expected{waiter, s.snapshot}, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiters[event], waiter)
		if len(s.waiters[event]) == 0 {
			delete(s.waiters, event)
		}
	}
}

// wake needs the lock.
func (s *Store) wake(event string) {
	for waiter := range s.waiters[event] {
		close(waiter)
	}
	delete(s.waiters, event)
}
