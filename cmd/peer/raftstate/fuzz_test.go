package raftstate

import (
	"bytes"
	"slices"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
	hraft "github.com/hashicorp/raft"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// FuzzMark reads the mark of any record that an entry of Raft's log may bring.
func FuzzMark(f *testing.F) {
	pin := api.PinWithOpts(api.NewCid(cidOf(1).Cid), api.PinOptions{Name: "a name", Metadata: map[string]string{"a": "b"}})
	with, _, _, err := marked(pin)
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []api.Pin{pin, with} {
		row, err := p.ProtoMarshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(row, with.Metadata[markKey])
		f.Add(row, noMark+"nonce")
	}
	f.Fuzz(func(t *testing.T, row []byte, text string) {
		if m, ok := parseMark(text); ok {
			again, ok := parseMark(m.String())
			if !ok || again.nonce != m.nonce || !bytes.Equal(again.record, m.record) {
				t.Errorf("%+v, want %+v", again, m)
			}
		}
		merged, m, ok := unmarked(row)
		if _, has := merged.Metadata[markKey]; has {
			t.Error("the mark is left")
		}
		if !ok || !m.describes(merged) {
			return
		}
		// What a mark describes can be written in the place of the record.
		var asked api.Pin
		if err := asked.ProtoUnmarshal(m.record); err != nil || !asked.Cid.Equals(merged.Cid) {
			t.Errorf("%v: %s, not %s", err, asked.Cid, merged.Cid)
		}
	})
}

// FuzzReply reads what a follower may send to a leader: the end of a response is found wherever
// what came is divided.
func FuzzReply(f *testing.F) {
	header := hraft.RPCHeader{ProtocolVersion: 3, ID: []byte("a peer"), Addr: []byte("its address")}
	for text, response := range map[string]any{
		"":                &hraft.AppendEntriesResponse{RPCHeader: header, Term: 3, LastLog: 7, Success: true},
		"no such command": &hraft.AppendEntriesResponse{RPCHeader: header, Term: 1 << 40},
		"a vote":          &hraft.RequestVoteResponse{RPCHeader: header, Term: 1, Granted: true},
	} {
		var b bytes.Buffer
		encoder := codec.NewEncoder(&b, &codec.MsgpackHandle{})
		for _, part := range []any{text, response} {
			if err := encoder.Encode(part); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes())
		f.Add(slices.Concat(b.Bytes(), b.Bytes()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		size, failed := reply(data)
		if size < 0 || size > len(data) {
			t.Fatalf("a response of %d bytes in %d", size, len(data))
		}
		if size == 0 {
			return
		}
		whole, same := reply(data[:size])
		if whole != size || (same == nil) != (failed == nil) {
			t.Errorf("alone it has %d bytes (%v), followed by others %d (%v)", whole, same, size, failed)
		}
	})
}
