package crdtstore

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	crdtpb "github.com/ipfs/go-ds-crdt/pb"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/proto"
)

func linkedBlock(t testing.TB, content []byte, children ...string) []byte {
	t.Helper()
	node := merkledag.NodeWithData(content)
	for _, child := range children {
		hash, err := multihash.Sum([]byte(child), multihash.SHA2_256, -1)
		noError(t, err)
		noError(t, node.AddRawLink("", &ipld.Link{Cid: cid.NewCidV1(cid.DagProtobuf, hash)}))
	}
	data, err := node.EncodeProtobuf(false)
	noError(t, err)
	return data
}

// FuzzScanLinks compares the links of a block that were scanned with those that were decoded.
func FuzzScanLinks(f *testing.F) {
	for _, block := range [][]byte{
		nil, {}, []byte("block"), linkedBlock(f, nil), linkedBlock(f, []byte("x")), linkedBlock(f, nil, "a"), linkedBlock(f, []byte("x"), "a", "b", "c"),
	} {
		f.Add(block)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		scanned, ok := scanLinks(data)
		if !ok {
			return
		}
		node, err := merkledag.DecodeProtobuf(data)
		if err != nil {
			return // It is no block, and never comes into the store as one.
		}
		var decoded []string
		for _, link := range node.Links() {
			decoded = append(decoded, blockID(link.Cid.Hash()))
		}
		slices.Sort(scanned)
		slices.Sort(decoded)
		if !slices.Equal(scanned, decoded) {
			t.Errorf("%x: scanned %q, decoded %q", data, scanned, decoded)
		}
	})
}

// FuzzDecodeBlock decodes any block that another peer may send, and reads its delta as go-ds-crdt does.
func FuzzDecodeBlock(f *testing.F) {
	for _, delta := range []*crdtpb.Delta{
		{},
		{Elements: []*crdtpb.Element{{Key: "/a", Value: []byte("x")}, {Key: "a", Value: []byte("y")}}, Priority: 3},
		{Tombstones: []*crdtpb.Element{{Key: "/a", Id: "bafy"}, {Key: "", Value: nil}}, Priority: 1<<64 - 1},
	} {
		data, err := proto.Marshal(delta)
		noError(f, err)
		f.Add(linkedBlock(f, data))
		f.Add(linkedBlock(f, data, "a", "b"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decodeBlock(data)
		if err != nil {
			return
		}
		links, err := Links(data)
		if err != nil {
			t.Fatalf("it is decoded, and has no links: %v", err)
		}
		slices.Sort(links)
		slices.Sort(b.links)
		if !slices.Equal(links, b.links) {
			t.Errorf("links %q, decoded %q", links, b.links)
		}
		for _, e := range b.delta.GetElements() {
			key := datastore.NewKey(e.GetKey()).String()[1:]
			if value := b.greatest(key); value == nil || bytes.Compare(value, e.GetValue()) < 0 {
				t.Errorf("%q has %q, not %q", key, value, e.GetValue())
			}
		}
	})
}

// The blocks that go-ds-crdt writes are scanned, or it would have no use.
func TestScanLinks_OfBlocks(t *testing.T) {
	if links, ok := scanLinks(linkedBlock(t, []byte("x"), "a", "b")); !ok || len(links) != 2 {
		t.Errorf("%q, %t", links, ok)
	}
}
