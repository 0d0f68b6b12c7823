package crdtstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	metrics "github.com/ipfs/go-metrics-interface"
	"github.com/multiformats/go-multihash"
)

// The head of a branch names only its newest block, and each block its children. Over Bitswap each is
// a request of its own, and no more than one in 20 ms goes to a peer (U96 in docs/upstream-faults.md).
// A block that is not here is fetched together with those below it, which are needed next.

// Fetch gets a block of the CRDT from another peer. It returns false when none is known to have it
// now, and then the block is asked for over Bitswap. What it returns is verified.
type Fetch func(ctx context.Context, id string) ([]byte, bool)

// FetchWith has missing blocks fetched so. It must be called before the store is used.
func (s *Store) FetchWith(f Fetch) { s.fetch = f }

// getBlock is Get of a block that go-ds-crdt walks to. Others that read blocks do not fetch them: the
// blocks that another peer wants of this one are looked for by their size first.
func (s *Store) getBlock(ctx context.Context, key datastore.Key, id string) ([]byte, error) {
	value, err := s.Batching.Get(ctx, key)
	if err == nil {
		s.noteRead(id, value)
	}
	if err != datastore.ErrNotFound || s.fetch == nil {
		return value, err
	}
	data, ok := s.fetch(ctx, id)
	if !ok {
		return nil, datastore.ErrNotFound
	}
	if err := verify(id, data); err != nil {
		log.Warnf("fetching a block: %s", err)
		return nil, datastore.ErrNotFound
	}
	return data, s.Put(ctx, key, data) // As one that Bitswap brings.
}

// Branch hands out a block of this store and what is below it, the nearest first, until yield returns
// false. A block that is missing below is left out. It returns datastore.ErrNotFound without the first.
func (s *Store) Branch(ctx context.Context, id string, yield func(data []byte) bool) error {
	queue, seen := []string{id}, map[string]bool{id: true}
	for len(queue) > 0 {
		data, err := s.Block(ctx, queue[0])
		if errors.Is(err, datastore.ErrNotFound) && queue[0] != id {
			queue = queue[1:]
			continue
		}
		if err != nil {
			return err
		}
		if !yield(data) {
			return nil
		}
		links, err := Links(data)
		if err != nil {
			return fmt.Errorf("decoding block %s: %w", queue[0], err)
		}
		queue = queue[1:]
		for _, link := range links {
			if !seen[link] {
				seen[link], queue = true, append(queue, link)
			}
		}
	}
	return nil
}

// HasBlock reports whether the store has a block.
func (s *Store) HasBlock(ctx context.Context, id string) (bool, error) {
	return s.Batching.Has(ctx, s.keys.block(id))
}

// Links returns the IDs of the children of a block.
func Links(data []byte) (links []string, err error) {
	if links, ok := scanLinks(data); ok {
		return links, nil
	}
	node, err := merkledag.DecodeProtobuf(data)
	if err != nil {
		return nil, err
	}
	for _, link := range node.Links() {
		links = append(links, blockID(link.Cid.Hash()))
	}
	return links, nil
}

// isFilterBuild reports whether a query is by which the blockstore of ipfs-lite fills its Bloom filter,
// whose only sign is the scope of its metrics. The filter would say that what is not here is nowhere,
// before this store is asked (U96).
func (s *Store) isFilterBuild(ctx context.Context, q query.Query) bool {
	return s.fetch != nil && q.Prefix == s.keys.root+blockPrefix && strings.HasSuffix(metrics.CtxGetScope(ctx), ".bs.cache")
}

// neverEnding are results that bring nothing until the context has ended: a filter that is not filled
// is not used.
func neverEnding(ctx context.Context, q query.Query) query.Results {
	return query.ResultsWithContext(q, func(qctx context.Context, _ chan<- query.Result) {
		select {
		case <-ctx.Done():
		case <-qctx.Done():
		}
	})
}

// IDOf is the ID of a block as go-ds-crdt makes them.
func IDOf(data []byte) (string, error) {
	hash, err := multihash.Sum(data, multihash.SHA2_256, -1)
	if err != nil {
		return "", fmt.Errorf("hashing a block: %w", err)
	}
	return blockID(hash), nil
}
