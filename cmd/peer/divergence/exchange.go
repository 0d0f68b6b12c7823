package divergence

import (
	"context"
	"errors"
	"fmt"
	"time"

	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
)

// Protocol is by which peers compare their pinsets. Only trusted peers are answered.
const Protocol = protocol.ID("/ipfs-cluster-pinsvc/pinset/1")

const (
	serviceName = "Pinset"
	// describe is the one method that every peer may call.
	describeMethod = "Describe"
	// callTimeout bounds one call; a peer may have to read all of its rows for it.
	callTimeout = 2 * time.Minute
	// maxBlocks bounds the blocks of one answer, each of which has up to some MiB.
	maxBlocks = 8
	// maxRecords bounds the records of one answer, each of which has up to some hundred KiB.
	maxRecords = 32
)

// Description is what a peer says of itself. Peers that it does not trust get no more of
// it than that.
type Description struct {
	Trusted     bool
	ClusterName string
	Version     int
	// Unfinished is the number of branches that the peer has not read to their end.
	Unfinished int
	// Elements: the peer can tell elements and tombs.
	Elements bool
	Buckets  []digest.Digest
}

// service answers other peers.
type service struct{ w *Watcher }

func (w *Watcher) serve() error {
	server := rpc.NewServer(w.cfg.Host, Protocol, rpc.WithAuthorizeFunc(func(id peer.ID, _, method string) bool {
		return method == describeMethod || w.cfg.Trusted(context.Background(), id)
	}))
	if err := server.RegisterName(serviceName, &service{w}); err != nil {
		return fmt.Errorf("serving %s: %w", Protocol, err)
	}
	w.client = rpc.NewClient(w.cfg.Host, Protocol)
	return nil
}

// Close ends the service.
func (w *Watcher) Close() { w.cfg.Host.RemoveStreamHandler(Protocol) }

// Describe is called by peers that differ.
func (s *service) Describe(ctx context.Context, _ struct{}, out *Description) error {
	from, err := rpc.GetRequestSender(ctx)
	if err != nil || !s.w.cfg.Trusted(ctx, from) {
		return err
	}
	*out = Description{Trusted: true, ClusterName: s.w.cfg.ClusterName, Version: digest.Version, Elements: s.w.cfg.Elements != nil}
	if s.w.cfg.Elements != nil {
		out.Unfinished = s.w.cfg.Elements.Unfinished()
	}
	out.Buckets, err = s.w.cfg.Pinset.CurrentBuckets()
	return err
}

var errBusy = errors.New("the rows are being read for another peer")

// Rows are the rows of buckets.
func (s *service) Rows(ctx context.Context, buckets []int, out *[]digest.Row) (err error) {
	select {
	case s.w.scan <- struct{}{}:
		defer func() { <-s.w.scan }()
	default:
		return errBusy
	}
	*out, err = s.w.cfg.Pinset.InBuckets(ctx, buckets, maxRows)
	return err
}

// RowsOf are rows by their keys.
func (s *service) RowsOf(ctx context.Context, keys []string, out *[]digest.Row) error {
	for _, key := range keys[:min(len(keys), maxSuspects)] {
		row, err := s.w.cfg.Pinset.Row(ctx, key)
		if err != nil {
			return err
		}
		*out = append(*out, row)
	}
	return nil
}

// Records are rows of the Raft leader, with their content.
func (s *service) Records(ctx context.Context, keys []string, out *[]raftstate.Row) error {
	if s.w.cfg.Replica == nil {
		return errors.New("this peer is none of a Raft cluster")
	}
	if err := s.w.cfg.Replica.LeaderBarrier(ctx); err != nil {
		return err
	}
	for _, key := range keys[:min(len(keys), maxRecords)] {
		record, err := s.w.cfg.Pinset.Value(ctx, key)
		if err != nil {
			return err
		}
		*out = append(*out, raftstate.Row{Key: key, Record: record})
	}
	return nil
}

// Members are the elements of keys.
func (s *service) Members(ctx context.Context, keys []string, out *[]crdtstore.Members) error {
	if s.w.cfg.Elements == nil {
		return errors.New("this peer has no elements")
	}
	for _, key := range keys[:min(len(keys), maxSuspects)] {
		m, err := s.w.cfg.Elements.Members(ctx, key)
		if err != nil {
			return err
		}
		*out = append(*out, m)
	}
	return nil
}

// Blocks are blocks of the CRDT by their IDs; empty where this peer has none.
func (s *service) Blocks(ctx context.Context, ids []string, out *[][]byte) error {
	if s.w.cfg.Elements == nil {
		return errors.New("this peer has no elements")
	}
	for _, id := range ids[:min(len(ids), maxBlocks)] {
		data, err := s.w.cfg.Elements.Block(ctx, id)
		if err != nil {
			data = nil
		}
		*out = append(*out, data)
	}
	return nil
}

func (w *Watcher) call(ctx context.Context, id peer.ID, method string, args, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := w.client.CallContext(ctx, id, serviceName, method, args, reply); err != nil {
		return fmt.Errorf("asking peer %s: %w", id, err)
	}
	return nil
}
