package clockskew

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"
)

// clocks are the other peers; each answers after travel, half of it on either way.
type clocks struct {
	mu     sync.Mutex
	skew   map[peer.ID]time.Duration
	fail   map[peer.ID]bool
	travel time.Duration
}

func (c *clocks) TrackerStatus(_ context.Context, p peer.ID, key api.Cid) (api.PinInfo, error) {
	time.Sleep(c.travel / 2)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail[p] {
		return api.PinInfo{}, errors.New("stream reset")
	}
	info := api.PinInfo{Cid: key, PinInfoShort: api.PinInfoShort{Status: api.TrackerStatusUnpinned, TS: time.Now().Add(c.skew[p]).Round(0)}}
	c.mu.Unlock()
	time.Sleep(c.travel / 2)
	c.mu.Lock()
	return info, nil
}

func TestMonitor_MeasuresEachPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clocks{travel: 400 * time.Millisecond, fail: map[peer.ID]bool{}, skew: map[peer.ID]time.Duration{
			"A": 0, "B": -26 * time.Minute, "C": time.Hour, "D": 4 * time.Second,
		}}
		m := New(Config{Client: c, Now: time.Now, Timeout: time.Second, Peers: func() []peer.ID { return []peer.ID{"C", "A", "B", "D"} }})
		m.Measure(t.Context())
		skews := m.Skews()
		for p, want := range c.skew {
			if got, ok := skews[p]; !ok || got != want {
				t.Errorf("peer %s: %s, want %s", p, got, want)
			}
		}
		details := m.Details()
		if len(details) != 2 || !strings.Contains(details[0], "26m0s behind") || !strings.Contains(details[1], "1h0m0s ahead of") {
			t.Errorf("%q", details)
		}
		if !m.Behind("B") || m.Behind("A") || m.Behind("C") || m.Behind("unknown") {
			t.Error("the wrong clocks are behind")
		}
		c.skew["B"], c.skew["C"] = 0, 0
		c.fail["C"] = true
		m.Measure(t.Context())
		if wrong := m.Wrong(); len(wrong) != 1 || wrong[0].Peer != "C" {
			t.Errorf("%v, but a peer that does not answer keeps its last measurement", wrong)
		}
		time.Sleep(2 * forgetAfter)
		if m.Behind("B") {
			t.Error("a measurement of long ago counts")
		}
		if left := m.Skews(); len(left) != 0 {
			t.Errorf("%v is not forgotten", left)
		}
	})
}

// A clock that differs is logged once, again when it differs by more, and when it agrees again.
func TestMonitor_LogsWhatChanges(t *testing.T) {
	level := log.Desugar().Level()
	if err := logging.SetLogLevel("clusterrpc", "info"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logging.SetLogLevel("clusterrpc", level.String()) })
	pipe := logging.NewPipeReader(logging.PipeFormat(logging.PlaintextOutput))
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(pipe)
		read <- string(all)
	}()
	synctest.Test(t, func(t *testing.T) {
		c := &clocks{fail: map[peer.ID]bool{}, skew: map[peer.ID]time.Duration{}}
		m := New(Config{Client: c, Now: time.Now, Timeout: time.Second, Peers: func() []peer.ID { return []peer.ID{"A"} }})
		for _, skew := range []time.Duration{
			0, 4 * time.Second, // tolerable
			-time.Minute, -time.Minute, -time.Minute - 4*time.Second, // one line
			time.Hour, time.Hour, // another one
			0, 0, // agrees
			6 * time.Second,
		} {
			c.skew["A"] = skew
			m.Measure(t.Context())
		}
	})
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(<-read) {
		if fields := strings.Split(strings.TrimSpace(line), "\t"); strings.Contains(line, "clock of peer") {
			lines = append(lines, fields[1]+" "+fields[len(fields)-1])
		}
	}
	const set = ": set the clocks, or the peers take each other to be gone"
	want := []string{
		"WARN " + Skew{"A", -time.Minute}.String() + set,
		"WARN " + Skew{"A", time.Hour}.String() + set,
		"INFO the clock of peer " + peer.ID("A").String() + " agrees with that of this peer again",
		"WARN " + Skew{"A", 6 * time.Second}.String() + set,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("logged:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// A tracker that is at work on the CID, or cannot read its state, tells another time.
func TestMonitor_OtherReportsAreNoMeasurement(t *testing.T) {
	for _, info := range []api.PinInfo{
		{},
		{PinInfoShort: api.PinInfoShort{Status: api.TrackerStatusPinned, TS: time.Unix(1, 0)}},
		{PinInfoShort: api.PinInfoShort{Status: api.TrackerStatusClusterError, TS: time.Unix(1, 0)}},
	} {
		m := New(Config{Client: fixed(info), Now: time.Now, Timeout: time.Second, Peers: func() []peer.ID { return []peer.ID{"A"} }})
		m.Measure(t.Context())
		if skews := m.Skews(); len(skews) != 0 {
			t.Errorf("%+v: %v", info, skews)
		}
	}
}

type fixed api.PinInfo

func (f fixed) TrackerStatus(context.Context, peer.ID, api.Cid) (api.PinInfo, error) {
	return api.PinInfo(f), nil
}
