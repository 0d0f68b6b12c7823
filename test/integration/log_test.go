package integration

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

func TestLog_OfNormalUseWithCRDT(t *testing.T) {
	t.Parallel()
	testLogOfNormalUse(t, harness.New(t).Cluster(1, "crdt"))
}

func TestLog_OfNormalUseWithBatching(t *testing.T) {
	t.Parallel()
	peer := harness.New(t).Peer(harness.InitOptions{})
	peer.Edit(func(c harness.Section) {
		c.Section("consensus", "crdt", "batching").Set("max_batch_size", 50)
		c.Section("consensus", "crdt", "batching").Set("max_batch_age", "200ms")
	})
	peer.Start()
	testLogOfNormalUse(t, []*harness.Peer{peer})
}

func TestLog_OfNormalUseWithRaft(t *testing.T) {
	t.Parallel()
	testLogOfNormalUse(t, harness.New(t).Cluster(3, "raft"))
}

// A start, changes and an orderly stop are no faults: nothing of them is logged as one, and a
// change has one line.
func testLogOfNormalUse(t *testing.T, peers []*harness.Peer) {
	const pins, others = 100, 100
	// Half of them are pinned at once, half are still looked for when they are removed.
	var ids []string
	for i := range pins {
		c := inline(t, fmt.Sprint("there ", i))
		if i%2 == 1 {
			c = unknown(t, fmt.Sprint(i))
		}
		ids = append(ids, c.String())
	}
	stopped := peers[len(peers)-1]
	each(ids, func(id string) {
		want(t, request(t, stopped, http.MethodPost, "/pins", map[string]any{"cid": id}), http.StatusAccepted, "")
	})
	each(ids, func(id string) {
		want(t, request(t, stopped, http.MethodDelete, "/pins/"+id, nil), http.StatusAccepted, "")
	})
	// What the others say later is of a peer that is gone.
	logs := make(map[string]string)
	for _, p := range peers {
		logs[p.Name] = p.Process().Output()
	}
	stopped.Process().Signal(syscall.SIGTERM)
	if err := stopped.Process().Wait(harness.StopTimeout); err != nil {
		t.Errorf("%s: %v", stopped.Name, err)
	}
	logs[stopped.Name] = stopped.Process().Output()

	fault := regexp.MustCompile(`\t(WARN|ERROR|DPANIC|PANIC|FATAL)\t`)
	for name, log := range logs {
		lines := strings.Split(log, "\n")
		for _, line := range lines {
			if fault.MatchString(line) {
				t.Errorf("%s: %s", name, line)
			}
		}
		if len(lines) > 2*pins+others {
			t.Errorf("%s: %d lines for %d changes", name, len(lines), 2*pins)
		}
		t.Logf("%s: %d lines", name, len(lines))
	}
}

// each calls f for all of them, several at once.
func each(ids []string, f func(id string)) {
	const atOnce = 8
	var clients sync.WaitGroup
	for first := range atOnce {
		clients.Go(func() {
			for i := first; i < len(ids); i += atOnce {
				f(ids[i])
			}
		})
	}
	clients.Wait()
}
