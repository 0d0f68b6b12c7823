package clustertest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hsanjuan/ipfs-lite"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/state/dsstate"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	dscrdt "github.com/ipfs/go-ds-crdt"
	crdtpb "github.com/ipfs/go-ds-crdt/pb"
	format "github.com/ipfs/go-ipld-format"
	"google.golang.org/protobuf/proto"
)

const (
	// seedCommit is how many records one delta of a seeded state has.
	seedCommit = 256
	// seedWrites is how many keys are written in one batch.
	seedWrites = 4096
)

// Seed writes n records, all of different CIDs, into the CRDT state of a datastore that no
// peer uses yet, key by key as they would be had a peer accepted them in commits of
// seedCommit: a peer that is started on the datastore holds them. It does not change any
// Node: see Keep.
//
// The CRDT itself reads and writes in the order of the records, which takes a quarter of an
// hour for ten million. Here the blocks are written in that order and the keys in their own.
// It needs 100 bytes a record. record may be called several times for each.
func Seed(ctx context.Context, store datastore.Batching, n int, record func(i int) api.Pin) error {
	// The CRDT writes its version.
	_, closeReplica, err := openOffline(ctx, store)
	if err == nil {
		err = closeReplica()
	}
	if err != nil {
		return fmt.Errorf("seed the state: %w", err)
	}
	s := &seeding{store: store, record: record, root: crdtRoot().String()}
	if err := errors.Join(s.blocks(ctx, n), s.rows(ctx), s.flush(ctx)); err != nil {
		return fmt.Errorf("seed the state: %w", err)
	}
	return nil
}

func crdtRoot() datastore.Key { return datastore.NewKey(crdt.DefaultDatastoreNamespace) }

// seeding is a state that is being written.
type seeding struct {
	store  datastore.Batching
	record func(i int) api.Pin
	root   string

	batch  datastore.Batch
	writes int
	// commits are the IDs of the blocks, and keys the state keys of the records.
	commits []string
	keys    []seededKey
}

type seededKey struct {
	key    string
	record int
}

// blocks writes the blocks of n records, each with the one before as its child, and the
// last of them as the head.
func (s *seeding) blocks(ctx context.Context, n int) error {
	var head cid.Cid
	for from := 0; from < n; from += seedCommit {
		delta := &crdtpb.Delta{Priority: uint64(len(s.commits)) + 1}
		for i := from; i < min(from+seedCommit, n); i++ {
			rec := s.record(i)
			value, err := rec.ProtoMarshal()
			if err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
			key := dshelp.NewKeyFromBinary(rec.Cid.Bytes()).String()
			s.keys = append(s.keys, seededKey{key, i})
			delta.Elements = append(delta.Elements, &crdtpb.Element{Key: key, Value: value})
		}
		node, err := blockOf(delta, head)
		if err != nil {
			return err
		}
		head = node.Cid()
		id := dshelp.MultihashToDsKey(head.Hash()).String()
		s.commits = append(s.commits, id)
		err = errors.Join(
			s.put(ctx, s.root+"/"+crdt.BlocksNs+blockstore.BlockPrefix.String()+id, node.RawData()),
			s.put(ctx, s.root+"/b"+id, nil), // It is processed.
		)
		if err != nil {
			return err
		}
	}
	if len(s.commits) == 0 {
		return nil
	}
	return s.put(ctx, s.root+"/h"+s.commits[len(s.commits)-1], binary.AppendUvarint(nil, uint64(len(s.commits))))
}

func blockOf(delta *crdtpb.Delta, child cid.Cid) (format.Node, error) {
	data, err := proto.Marshal(delta)
	if err != nil {
		return nil, err
	}
	node := merkledag.NodeWithData(data)
	if child.Defined() {
		if err := node.AddRawLink("", &format.Link{Cid: child}); err != nil {
			return nil, err
		}
	}
	return node, node.SetCidBuilder(merkledag.V1CidPrefix())
}

// rows writes the values, priorities and elements of all records.
func (s *seeding) rows(ctx context.Context) error {
	slices.SortFunc(s.keys, func(a, b seededKey) int { return strings.Compare(a.key, b.key) })
	for _, k := range s.keys {
		rec := s.record(k.record)
		value, err := rec.ProtoMarshal()
		if err != nil {
			return fmt.Errorf("record %d: %w", k.record, err)
		}
		priority := binary.AppendUvarint(nil, uint64(k.record/seedCommit)+2) // One more than that of the delta.
		if err := errors.Join(s.put(ctx, s.root+"/s/k"+k.key+"/p", priority), s.put(ctx, s.root+"/s/k"+k.key+"/v", value)); err != nil {
			return err
		}
	}
	for _, k := range s.keys {
		if err := s.put(ctx, s.root+"/s/s"+k.key+s.commits[k.record/seedCommit], nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *seeding) put(ctx context.Context, key string, value []byte) (err error) {
	if s.batch == nil {
		if s.batch, err = s.store.Batch(ctx); err != nil {
			return err
		}
	}
	if err := s.batch.Put(ctx, datastore.RawKey(key), value); err != nil {
		return err
	}
	if s.writes++; s.writes%seedWrites == 0 {
		return s.flush(ctx)
	}
	return nil
}

func (s *seeding) flush(ctx context.Context) error {
	if s.batch == nil {
		return nil
	}
	err := s.batch.Commit(ctx)
	s.batch = nil
	return err
}

// Read reads all records of the CRDT state of a datastore that no peer uses, and
// wants n of them.
func Read(ctx context.Context, store datastore.Batching, n int) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	state, closeReplica, err := openOffline(ctx, store)
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	defer func() { err = errors.Join(err, closeReplica()) }()
	records := make(chan api.Pin, 1024)
	listed := make(chan error, 1)
	go func() { listed <- state.List(ctx, records) }()
	count := 0
	for range records {
		count++
	}
	if err := <-listed; err != nil {
		return fmt.Errorf("read the state: after %d records: %w", count, err)
	}
	if count != n {
		return fmt.Errorf("read the state: %d records, want %d", count, n)
	}
	return nil
}

// openOffline opens the CRDT state of a datastore that no peer uses. The replica
// ends its work when it is closed, the rest with ctx.
func openOffline(ctx context.Context, store datastore.Batching) (*dsstate.BatchingState, func() error, error) {
	blocks := namespace.Wrap(store, crdtRoot().ChildString(crdt.BlocksNs))
	dag, err := ipfslite.New(ctx, blocks, nil, nil, nil, &ipfslite.Config{Offline: true})
	if err != nil {
		return nil, nil, err
	}
	replica, err := dscrdt.New(store, crdtRoot(), dag, nil, dscrdt.DefaultOptions())
	if err != nil {
		return nil, nil, err
	}
	state, err := dsstate.NewBatching(ctx, replica, "", dsstate.DefaultHandle())
	if err != nil {
		return nil, nil, errors.Join(err, replica.Close())
	}
	return state, replica.Close, nil
}
