package divergence

import (
	"context"
	"errors"
	"fmt"
	"slices"

	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/boundrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
)

// Protocol is by which peers compare their pinsets. Only trusted peers are answered.
const Protocol = protocol.ID("/ipfs-cluster-pinsvc/pinset/1")

const serviceName = "Pinset"

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

// serving bounds what is read of requests: none has more than keys. A peer makes no more than maxExaminations at a time,
// while what it has had the answers to may not have ended here.
func serving(trusted func(peer.ID) bool) boundrpc.Serving {
	const request = 2 * maxKeys
	return boundrpc.Serving{
		Request: boundrpc.Limits{Bytes: request, Field: maxKey, Values: maxRows},
		Peer:    2 * maxExaminations, All: 32, PeerBytes: 2 * request, AllBytes: 32 * request,
		Timeout: defaultPatience().long, Trusted: trusted,
	}
}

func (w *Watcher) serve() error {
	trusted := func(id peer.ID) bool { return w.cfg.Trusted(context.Background(), id) }
	server := boundrpc.NewServer(w.cfg.Host, Protocol, serving(trusted), rpc.WithAuthorizeFunc(func(id peer.ID, _, method string) bool {
		return method == describeMethod || trusted(id)
	}))
	if err := server.RegisterName(serviceName, &service{w}); err != nil {
		return fmt.Errorf("serving %s: %w", Protocol, err)
	}
	w.client = boundrpc.NewClient(w.cfg.Host, Protocol)
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

var (
	errBusy   = errors.New("the rows are being read for another peer")
	errNoKey  = errors.New("what is asked for is no key")
	errTooBig = errors.New("there is more than may be sent")
)

// Rows are the rows of buckets.
func (s *service) Rows(ctx context.Context, buckets []int, out *[]digest.Row) (err error) {
	select {
	case s.w.scan <- struct{}{}:
		defer func() { <-s.w.scan }()
	default:
		return errBusy
	}
	*out, err = s.w.cfg.Pinset.InBuckets(ctx, buckets, maxRows)
	*out = fitting(*out)
	return err
}

// fitting are the first rows that may be sent.
func fitting(rows []digest.Row) []digest.Row {
	const around = 64 // what is sent of a row beside its key
	size := around
	return slices.DeleteFunc(rows, func(row digest.Row) bool {
		size += len(row.Key) + around
		return len(row.Key) > maxKey || size > maxRowsSize
	})
}

// asked are the keys of a request, or its first ones.
func asked(keys []string, most int, is func(string) bool) ([]string, error) {
	keys = keys[:min(len(keys), most)]
	for _, key := range keys {
		if !is(key) {
			return nil, errNoKey
		}
	}
	return keys, nil
}

// RowsOf are rows by their keys.
func (s *service) RowsOf(ctx context.Context, keys []string, out *[]digest.Row) error {
	keys, err := asked(keys, maxSuspects, isKey)
	if err != nil {
		return err
	}
	for _, key := range keys {
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
	keys, err := asked(keys, maxRecords, isKey)
	if err != nil {
		return err
	}
	if err := s.w.cfg.Replica.LeaderBarrier(ctx); err != nil {
		return err
	}
	size := maxKeys
	for _, key := range keys {
		record, err := s.w.cfg.Pinset.Value(ctx, key)
		if err != nil {
			return err
		}
		if len(record) > maxRecord || size+len(record) > maxRecordsSize {
			continue // The caller asks again for what is missing.
		}
		size += len(record)
		*out = append(*out, raftstate.Row{Key: key, Record: record})
	}
	return nil
}

// Members are the elements of keys.
func (s *service) Members(ctx context.Context, keys []string, out *[]crdtstore.Members) error {
	if s.w.cfg.Elements == nil {
		return errors.New("this peer has no elements")
	}
	keys, err := asked(keys, maxSuspects, isKey)
	if err != nil {
		return err
	}
	ids := 0
	for _, key := range keys {
		m, err := s.w.cfg.Elements.Members(ctx, key)
		if err != nil {
			return err
		}
		// Peers of older versions ask for more keys at once.
		if ids += len(m.Live) + len(m.Tombs); ids > 4*maxIDs {
			return errTooBig
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
	ids, err := asked(ids, maxBlocks, isID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		data, err := s.w.cfg.Elements.Block(ctx, id)
		if err != nil || len(data) > maxBlock {
			data = nil
		}
		*out = append(*out, data)
	}
	return nil
}
