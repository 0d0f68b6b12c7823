package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// Opening a store offline leaves nothing behind, and the next one can open it.
func TestState_Offline(t *testing.T) {
	for _, engine := range [][2]string{{"crdt", "pebble"}, {"crdt", "leveldb"}, {"raft", ""}} {
		t.Run(engine[0]+" "+engine[1], func(t *testing.T) {
			ignored := []goleak.Option{
				goleak.IgnoreCurrent(),
				// These two outlive the store that began them, by their own design.
				goleak.IgnoreAnyFunction("github.com/ipfs-cluster/ipfs-cluster/datastore/pebble.New.func1"),
				goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"),
			}
			files := upstreamFiles(t, engine[0], engine[1])
			c := NewConfiguration(files, "", "")
			noError(t, c.Load())
			const pin = `{"cid":"bafkqablimvwgy3y","name":"hello","type":"pin","max_depth":-1}`
			noError(t, c.ImportPins(t.Context(), strings.NewReader(pin), ImportOptions{}))
			for range 2 {
				var out bytes.Buffer
				noError(t, c.ExportPins(t.Context(), &out))
				if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `"name":"hello"`) {
					t.Errorf("exported %s", out.String())
				}
			}
			noError(t, c.CleanState(t.Context()))
			c.Close()
			goleak.VerifyNone(t, ignored...)
		})
	}
}

// Pins are committed in groups; the last one may be full.
func TestImportPins_InGroups(t *testing.T) {
	for _, n := range []int{512, 600} {
		c := loaded(t, upstreamFiles(t, "crdt", "pebble"))
		var pins strings.Builder
		for i := range n {
			fmt.Fprintf(&pins, `{"cid":%q,"name":"n%d"}`+"\n", pinsvctest.RawCID(i), i)
		}
		noError(t, c.ImportPins(t.Context(), strings.NewReader(pins.String()), ImportOptions{}))
		var out bytes.Buffer
		noError(t, c.ExportPins(t.Context(), &out))
		if got := strings.Count(out.String(), "\n"); got != n {
			t.Errorf("%d of %d pins are there after the import", got, n)
		}
		stats, err := c.CRDTStats(t.Context())
		noError(t, err)
		if want := uint64(n+255) / 256; stats.MaxHeight != want {
			t.Errorf("%d pins were committed in %d groups, want %d", n, stats.MaxHeight, want)
		}
	}
}

func TestExportPins_ToAWriterThatFails(t *testing.T) {
	c := loaded(t, upstreamFiles(t, "crdt", "pebble"))
	noError(t, c.ImportPins(t.Context(), strings.NewReader(strings.Repeat(
		`{"cid":"bafkqablimvwgy3y"}`+"\n", 3)), ImportOptions{}))
	if err := c.ExportPins(t.Context(), failing{}); !errors.Is(err, errFull) {
		t.Errorf("want the writer's error, got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.ExportPins(ctx, &bytes.Buffer{}); err == nil {
		t.Error("an export that was cancelled says that it is whole")
	}
}

var errFull = errors.New("no space left")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }
