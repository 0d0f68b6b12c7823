package crdtstore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	crdtpb "github.com/ipfs/go-ds-crdt/pb"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// block is a node of the CRDT's DAG.
type block struct {
	delta crdtpb.Delta
	links []string // the IDs of its children
}

func decodeBlock(data []byte) (*block, error) {
	node, err := merkledag.DecodeProtobuf(data)
	if err != nil {
		return nil, err
	}
	b := new(block)
	if err := proto.Unmarshal(node.Data(), &b.delta); err != nil {
		return nil, err
	}
	for _, link := range node.Links() {
		b.links = append(b.links, blockID(link.Cid.Hash()))
	}
	return b, nil
}

// scanLinks returns the IDs of a block's children without decoding the rest. It returns false for
// what is not a plain block, which decodeBlock judges.
func scanLinks(data []byte) (links []string, ok bool) {
	const linksField, hashField = 2, 1 // Of PBNode and PBLink in DAG-PB.
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 || kind != protowire.BytesType {
			return nil, false
		}
		value, m := protowire.ConsumeBytes(data[n:])
		if m < 0 {
			return nil, false
		}
		if data = data[n+m:]; number != linksField {
			continue
		}
		number, kind, n = protowire.ConsumeTag(value)
		if n < 0 || number != hashField || kind != protowire.BytesType {
			return nil, false
		}
		hash, m := protowire.ConsumeBytes(value[n:])
		if m < 0 {
			return nil, false
		}
		c, err := cid.Cast(hash)
		if err != nil {
			return nil, false
		}
		links = append(links, blockID(c.Hash()))
		ok = true
	}
	return links, ok
}

// readBlock reads a block of this store; the network is not asked.
func (s *Store) readBlock(ctx context.Context, id string) (*block, error) {
	data, err := s.Batching.Get(ctx, s.keys.block(id))
	if err != nil {
		return nil, fmt.Errorf("reading block %s: %w", id, err)
	}
	b, err := decodeBlock(data)
	if err != nil {
		return nil, fmt.Errorf("decoding block %s: %w", id, err)
	}
	return b, nil
}

// Block returns the bytes of a block of this store, or datastore.ErrNotFound.
func (s *Store) Block(ctx context.Context, id string) ([]byte, error) {
	return s.Batching.Get(ctx, s.keys.block(id))
}

// greatest is the value that an element of a block gives to a key. go-ds-crdt takes the
// greatest where a block has several.
func (b *block) greatest(key string) (value []byte) {
	for _, e := range b.delta.GetElements() {
		if datastore.NewKey(e.GetKey()).String()[1:] == key && (value == nil || bytes.Compare(e.GetValue(), value) > 0) {
			value = e.GetValue()
			if value == nil {
				value = []byte{}
			}
		}
	}
	return value
}

// verify reports whether data is the block that an ID names.
func verify(id string, data []byte) error {
	hash, err := dshelp.DsKeyToMultihash(datastore.NewKey(id))
	if err != nil {
		return fmt.Errorf("%q is not the ID of a block: %w", id, err)
	}
	decoded, err := multihash.Decode(hash)
	if err != nil {
		return fmt.Errorf("%q is not the ID of a block: %w", id, err)
	}
	sum, err := multihash.Sum(data, decoded.Code, decoded.Length)
	if err != nil {
		return fmt.Errorf("hashing block %s: %w", id, err)
	}
	if !bytes.Equal(sum, hash) {
		return fmt.Errorf("the data is not that of block %s", id)
	}
	return nil
}
