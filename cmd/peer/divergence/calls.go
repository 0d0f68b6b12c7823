package divergence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/boundrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
)

const (
	// maxKey bounds the key of a row, which is a CID.
	maxKey = 4 << 10
	// maxKeys bounds the keys of one request together.
	maxKeys = 512 << 10
	// maxRowsSize bounds the rows of one response: a row has some 100 bytes.
	maxRowsSize = 8 << 20
	// maxMembers bounds the keys whose members one request asks for, maxIDs and maxIDsSize the IDs of the response:
	// a tomb stays for ever.
	maxMembers, maxIDs, maxIDsSize = 32, 1 << 16, 4 << 20
	// maxID bounds the ID of a block, which is a multihash in base 32.
	maxID = 256
	// maxBlocks bounds the blocks of one response, and maxBlock each of them: go-ds-crdt makes blocks of about 1 MiB.
	maxBlocks, maxBlock = 8, 2 << 20
	// maxRecords bounds the records of one response, each of which has up to some hundred KiB.
	maxRecords, maxRecord, maxRecordsSize = 32, 4 << 20, 16 << 20
)

// values per row, element of a list of members, and so on, as they are sent: names and values of the fields.
const perRow, perBucket, perMembers, perRecord = 7, 5, 7, 5

// methods of the service. Describe is the one that every peer may call.
const (
	describeMethod = "Describe"
	rowsMethod     = "Rows"
	rowsOfMethod   = "RowsOf"
	membersMethod  = "Members"
	blocksMethod   = "Blocks"
	recordsMethod  = "Records"
)

// limits are those of a result.
func limits(method string) boundrpc.Limits {
	switch method {
	case describeMethod:
		return boundrpc.Limits{Bytes: 128 << 10, Field: maxKey, Values: perBucket*digest.Buckets + 32}
	case rowsMethod:
		return boundrpc.Limits{Bytes: maxRowsSize, Field: maxKey, Values: perRow*maxRows + 1}
	case rowsOfMethod:
		return boundrpc.Limits{Bytes: 2 * maxKeys, Field: maxKey, Values: perRow*maxSuspects + 1}
	case membersMethod:
		return boundrpc.Limits{Bytes: maxIDsSize, Field: maxID, Values: perMembers*maxMembers + maxIDs + 1}
	case blocksMethod:
		return boundrpc.Limits{Bytes: maxBlocks*maxBlock + 1<<10, Field: maxBlock, Values: maxBlocks + 1}
	case recordsMethod:
		return boundrpc.Limits{Bytes: maxRecordsSize, Field: maxRecord, Values: perRecord*maxRecords + 1}
	default:
		return boundrpc.Limits{}
	}
}

// patience is how long a call may take.
type patience struct {
	// short is for what is in memory or read by its key; long for all the rows, which the peer has to read.
	short, long time.Duration
	// all bounds a whole examination, of many calls.
	all time.Duration
}

func defaultPatience() patience {
	return patience{short: 30 * time.Second, long: 2 * time.Minute, all: 15 * time.Minute}
}

// errUnanswered is that of a peer that cannot be asked, or whose response is none.
var errUnanswered = errors.New("no answer")

// call asks a peer. What is more than may be read of a response is told in the log.
func call[T any](ctx context.Context, w *Watcher, id peer.ID, method string, args any) (T, error) {
	limit := w.patience.short
	if method == rowsMethod {
		limit = w.patience.long
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	reply, err := boundrpc.Call[T](ctx, w.client, id, serviceName, method, args, limits(method))
	if errors.Is(err, boundrpc.ErrRefused) {
		return reply, w.refuse(id, err)
	}
	if err != nil {
		return reply, fmt.Errorf("asking peer %s: %w: %w", id, errUnanswered, err)
	}
	return reply, nil
}

// refuse tells of a response that is not accepted.
func (w *Watcher) refuse(id peer.ID, err error) error {
	log.Warnf("asking peer %s what it has: %s", id, err)
	return fmt.Errorf("asking peer %s: %w: %w", id, errUnanswered, err)
}

func wrongf(method, format string, args ...any) error {
	return fmt.Errorf("its response to %s is %w: %s", method, boundrpc.ErrRefused, fmt.Sprintf(format, args...))
}

// isKey reports whether a text can be the key of a row: it names nothing else in the datastore.
func isKey(text string) bool {
	return text != "" && len(text) <= maxKey && datastore.NewKey(text).String() == "/"+text
}

// isID reports whether a text can be the ID of a block.
func isID(text string) bool {
	return isKey(text) && len(text) <= maxID && !strings.Contains(text, "/")
}

func (w *Watcher) description(ctx context.Context, id peer.ID) (Description, error) {
	return call[Description](ctx, w, id, describeMethod, struct{}{})
}

// rows are what a peer has in buckets.
func (w *Watcher) rows(ctx context.Context, id peer.ID, buckets []int) ([]digest.Row, error) {
	list, err := call[[]digest.Row](ctx, w, id, rowsMethod, buckets)
	if err != nil {
		return nil, err
	}
	if len(list) > maxRows {
		return nil, w.refuse(id, wrongf(rowsMethod, "%d rows", len(list)))
	}
	for _, row := range list {
		if !isKey(row.Key) {
			return nil, w.refuse(id, wrongf(rowsMethod, "%.100q is no key", row.Key))
		}
	}
	return list, nil
}

// rowsOf are the rows of keys, in their order.
func (w *Watcher) rowsOf(ctx context.Context, id peer.ID, keys []string) ([]digest.Row, error) {
	list, err := call[[]digest.Row](ctx, w, id, rowsOfMethod, keys)
	if err != nil {
		return nil, err
	}
	if len(list) != len(keys) {
		return nil, w.refuse(id, wrongf(rowsOfMethod, "%d rows, not %d", len(list), len(keys)))
	}
	return list, nil
}

// membersOf are the elements and tombs of keys, in their order.
func (w *Watcher) membersOf(ctx context.Context, id peer.ID, keys []string) ([]crdtstore.Members, error) {
	list, err := call[[]crdtstore.Members](ctx, w, id, membersMethod, keys)
	if err != nil {
		return nil, err
	}
	if len(list) != len(keys) {
		return nil, w.refuse(id, wrongf(membersMethod, "members of %d keys, not of %d", len(list), len(keys)))
	}
	for _, m := range list {
		for _, element := range slices.Concat(m.Live, m.Tombs) {
			if !isID(element) {
				return nil, w.refuse(id, wrongf(membersMethod, "%.100q is no ID", element))
			}
		}
	}
	return list, nil
}

// blocks are the blocks of IDs, in their order.
func (w *Watcher) blocks(ctx context.Context, id peer.ID, ids []string) ([][]byte, error) {
	list, err := call[[][]byte](ctx, w, id, blocksMethod, ids)
	if err != nil {
		return nil, err
	}
	if len(list) != len(ids) {
		return nil, w.refuse(id, wrongf(blocksMethod, "%d blocks, not %d", len(list), len(ids)))
	}
	return list, nil
}

// records are those of keys, or some of them.
func (w *Watcher) records(ctx context.Context, id peer.ID, keys []string) ([]raftstate.Row, error) {
	list, err := call[[]raftstate.Row](ctx, w, id, recordsMethod, keys)
	if err != nil {
		return nil, err
	}
	for i, row := range list {
		if !slices.Contains(keys, row.Key) || slices.ContainsFunc(list[:i], func(r raftstate.Row) bool { return r.Key == row.Key }) {
			return nil, w.refuse(id, wrongf(recordsMethod, "record %.100q was not asked for", row.Key))
		}
	}
	return list, nil
}
