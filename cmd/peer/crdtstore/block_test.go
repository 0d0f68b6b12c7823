package crdtstore

import (
	"slices"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
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

// The blocks that go-ds-crdt writes are scanned, or it would have no use.
func TestScanLinks_OfBlocks(t *testing.T) {
	if links, ok := scanLinks(linkedBlock(t, []byte("x"), "a", "b")); !ok || len(links) != 2 {
		t.Errorf("%q, %t", links, ok)
	}
}
