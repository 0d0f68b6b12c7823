package divergence

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
)

// wire is a host whose streams have what a test has another peer send.
type wire struct {
	host.Host
	data  []byte
	serve network.StreamHandler
}

func (w *wire) ID() peer.ID                                             { return "self" }
func (w *wire) SetStreamHandler(_ protocol.ID, h network.StreamHandler) { w.serve = h }
func (w *wire) NewStream(context.Context, peer.ID, ...protocol.ID) (network.Stream, error) {
	return &wireStream{in: bytes.NewReader(w.data)}, nil
}

type wireStream struct {
	network.Stream
	mu  sync.Mutex
	in  *bytes.Reader
	out int
}

func (s *wireStream) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in.Len() == 0 {
		return 0, io.EOF
	}
	return s.in.Read(b)
}

func (s *wireStream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out += len(b)
	return len(b), nil
}

func (s *wireStream) Close() error                { return nil }
func (s *wireStream) Reset() error                { return nil }
func (s *wireStream) SetDeadline(time.Time) error { return nil }
func (s *wireStream) Conn() network.Conn          { return wireConn{} }

type wireConn struct{ network.Conn }

func (wireConn) RemotePeer() peer.ID { return "another" }

// asked are elements that note what they are asked for.
type askedFor struct {
	elements
	t *testing.T
}

func (a *askedFor) Members(ctx context.Context, key string) (crdtstore.Members, error) {
	if !isKey(key) {
		a.t.Errorf("members of %q", key)
	}
	return a.elements.Members(ctx, key)
}

func (a *askedFor) Block(ctx context.Context, id string) ([]byte, error) {
	if !isID(id) {
		a.t.Errorf("block %q", id)
	}
	return a.elements.Block(ctx, id)
}

func quiet(f *testing.F) {
	for _, name := range []string{"divergence", "p2p-gorpc"} {
		if err := logging.SetLogLevel(name, "fatal"); err != nil {
			f.Fatal(err)
		}
	}
}

func overWire(t testing.TB, h *wire) *Watcher {
	rows := digest.Rows{
		Prefix: datastore.NewKey("/r"), Of: func(key string) (string, bool) { return key, true }, To: func(row string) string { return row },
	}
	pinset := digest.New(dssync.MutexWrap(datastore.NewMapDatastore()), rows)
	for _, key := range []string{"/r/a", "/r/b", "/other"} {
		if err := pinset.Put(context.Background(), datastore.NewKey(key), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if err := pinset.Count(context.Background()); err != nil {
		t.Fatal(err)
	}
	w, err := New(Config{
		Host: h, Pinset: pinset, Replica: &replica{}, ClusterName: "cluster", Trusted: func(context.Context, peer.ID) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// FuzzAnswer reads what any peer may respond with: it ends, and nothing is taken that was not asked for.
func FuzzAnswer(f *testing.F) {
	quiet(f)
	row := "\x83\xa3Key\xa1a\xa4Hash\xcf\x01\x02\x03\x04\x05\x06\x07\x08\xa6Absent\xc2"
	for method, seed := range []string{
		"\x86\xa7Trusted\xc3\xabClusterName\xa7cluster\xa7Version\x01\xaaUnfinished\x00\xa8Elements\xc3\xa7Buckets\x91\x82\xa5Count\x01\xa3Sum\x02",
		"\x91" + row, "\x92" + row + row,
		"\x92\x82\xa4Live\x91\xa2ID\xa5Tombs\x91\xa5other\x82\xa4Live\xc0\xa5Tombs\xc0", "\x92\xa1b\xa5block",
		"\x91\x82\xa3Key\xa1a\xa6Record\xa5value", "\xdd\xff\xff\xff\xff", "\x91\x81\xa1x\xc6\xff\xff\xff\xff", strings.Repeat("\x91", 40),
	} {
		f.Add(byte(method%6), []byte("\x80"+seed))
		f.Add(byte(method%6), []byte("\x81\xa5Error\xa3bad\xc0"+seed))
	}
	f.Fuzz(func(t *testing.T, method byte, data []byte) {
		w, ctx, keys := overWire(t, &wire{data: data}), t.Context(), []string{"a", "b"}
		got := 0
		switch method % 6 {
		case 0:
			d, err := w.description(ctx, "another")
			if err == nil && len(d.Buckets) > perBucket*digest.Buckets {
				t.Errorf("%d buckets", len(d.Buckets))
			}
		case 1:
			rows, _ := w.rows(ctx, "another", []int{1})
			for _, row := range rows {
				if !isKey(row.Key) {
					t.Errorf("the key %q", row.Key)
				}
			}
		case 2:
			rows, _ := w.rowsOf(ctx, "another", keys)
			got = len(rows)
		case 3:
			list, _ := w.membersOf(ctx, "another", keys)
			for _, m := range list {
				for _, id := range append(m.Live, m.Tombs...) {
					if !isID(id) {
						t.Errorf("the ID %q", id)
					}
				}
			}
			got = len(list)
		case 4:
			blocks, _ := w.blocks(ctx, "another", keys)
			got = len(blocks)
		case 5:
			records, _ := w.records(ctx, "another", keys)
			for _, r := range records {
				if r.Key != "a" && r.Key != "b" {
					t.Errorf("the record of %q", r.Key)
				}
			}
			got = len(records)
		}
		if got > len(keys) {
			t.Errorf("%d for %d keys", got, len(keys))
		}
	})
}

// FuzzQuestion reads what any peer may ask for: it ends, and nothing else is read or sent than rows and blocks.
func FuzzQuestion(f *testing.F) {
	quiet(f)
	name := func(method string) string {
		return "\x82\xa4Name\xa6Pinset\xa6Method" + string([]byte{0xa0 | byte(len(method))}) + method
	}
	for _, seed := range []string{
		name(describeMethod) + "\x80", name(rowsMethod) + "\x93\x01\x02\xcd\x03\xff", name(rowsOfMethod) + "\x92\xa1a\xa1b", name(recordsMethod) + "\x92\xa1a\xa8../other",
		name(membersMethod) + "\x91\xa1a", name(blocksMethod) + "\x91\xa4../x", name("None") + "\xc0", "\xdb\x40\x00\x00\x00", name(rowsMethod) + "\xdd\xff\xff\xff\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := new(wire)
		w := overWire(t, h)
		w.cfg.Elements = &askedFor{t: t}
		s := &wireStream{in: bytes.NewReader(data)}
		h.serve(s)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.out > 64<<10 {
			t.Errorf("%d bytes are sent for %d", s.out, len(data))
		}
	})
}
