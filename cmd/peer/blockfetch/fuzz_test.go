package blockfetch

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
)

// FuzzReadRequest reads what any peer of the cluster may send as a request.
func FuzzReadRequest(f *testing.F) {
	_, ids := linkedBlocks(f, 1)
	for _, q := range []request{{ids[0], 1}, {ids[0], maxBlocks}, {"", 0}, {"/../" + ids[0], 1 << 40}} {
		var b bytes.Buffer
		if err := q.write(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := readRequest(bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(q.id) > maxID || q.count < 0 || q.count > maxBlocks {
			t.Fatalf("out of bounds: %+v", q)
		}
		var b bytes.Buffer
		if err := q.write(&b); err != nil {
			t.Fatal(err)
		}
		if again, err := readRequest(&b); err != nil || again != q {
			t.Errorf("%+v, %v, want %+v", again, err, q)
		}
	})
}

// FuzzResponse reads what any peer of the cluster may send as a response: nothing is taken that was
// not asked for, or that is not what its ID names.
func FuzzResponse(f *testing.F) {
	blocks, ids := linkedBlocks(f, 3)
	var all bytes.Buffer
	for _, block := range blocks {
		if err := writeField(&all, block); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(all.Bytes())
	f.Add(all.Bytes()[:all.Len()-3])
	f.Add(all.Bytes()[len(blocks[0])+1:])
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &response{count: maxBlocks, links: map[string]bool{ids[0]: true}}
		for in := bufio.NewReader(bytes.NewReader(data)); ; {
			field, err := readField(in, maxBlock)
			if err == nil {
				err = r.add(field)
			}
			if err != nil {
				break
			}
		}
		if len(r.ids) > 0 && r.ids[0] != ids[0] {
			t.Errorf("%s came, not %s", r.ids[0], ids[0])
		}
		for i, id := range r.ids {
			if got, err := crdtstore.IDOf(r.blocks[i]); err != nil || got != id || slices.Contains(r.ids[:i], id) {
				t.Errorf("block %d is %s, %v, not %s", i, got, err, id)
			}
		}
	})
}

// linkedBlocks makes blocks, each of which links to the next one.
func linkedBlocks(t testing.TB, n int) (blocks [][]byte, ids []string) {
	t.Helper()
	var below *ipld.Link
	for range n {
		node := merkledag.NodeWithData([]byte("x"))
		if below != nil {
			if err := node.AddRawLink("", below); err != nil {
				t.Fatal(err)
			}
		}
		data, err := node.EncodeProtobuf(false)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := multihash.Sum(data, multihash.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		id, err := crdtstore.IDOf(data)
		if err != nil {
			t.Fatal(err)
		}
		below = &ipld.Link{Cid: cid.NewCidV1(cid.DagProtobuf, hash)}
		blocks, ids = append(blocks, data), append(ids, id)
	}
	slices.Reverse(blocks)
	slices.Reverse(ids)
	return blocks, ids
}

// A field that is longer than it may be is not read.
func TestReadField_TooLong(t *testing.T) {
	var b bytes.Buffer
	if err := writeField(&b, make([]byte, maxID+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := readField(bufio.NewReader(&b), maxID); !errors.Is(err, errTooLong) {
		t.Errorf("got %v", err)
	}
	if _, err := readField(bufio.NewReader(bytes.NewReader(nil)), maxID); err != io.EOF {
		t.Errorf("got %v", err)
	}
}
