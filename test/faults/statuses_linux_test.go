package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A hundred pins that two peers hold stayed queued or "pinning 1/2" at one of them for minutes
// after a link had been cut one way. Of pins that one of the two makes pinned the lists said 1/2.
func TestFaults_StatusesAreTrueSoonAfterAOneWayCut(t *testing.T) {
	for _, test := range []struct{ required, pins int }{{2, 100}, {1, 400}} {
		t.Run(fmt.Sprintf("%d pins at 2 peers of which %d make a pin pinned", test.pins, test.required), func(t *testing.T) {
			statusesAfterAOneWayCut(t, test.required, test.pins)
		})
	}
}

// newReplicated is a ready cluster in which two peers hold a pin, of which so many make it pinned. Its intervals are
// those that ship, on which it depends how soon statuses are true again.
func newReplicated(t *testing.T, who Credentials, required int) *cluster {
	t.Helper()
	ctx := t.Context()
	c, err := newCluster(ctx, settings{mode: CRDT, users: map[string]string{who.User: who.Password}}, folder(t), programs{harness.Service(t), harness.Ipfs(t)})
	if c != nil {
		t.Cleanup(func() {
			if err := c.close(""); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		if err := editJSON(filepath.Join(n.dir, "service.json"), func(o object) {
			o.at("cluster")["replication_factor_min"], o.at("cluster")["replication_factor_max"] = required, 2
			for _, key := range []string{"monitor_ping_interval", "peer_watch_interval", "pin_recover_interval", "state_sync_interval"} {
				delete(o.at("cluster"), key)
			}
			delete(o.at("consensus", "crdt"), "rebroadcast_interval")
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.waitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func statusesAfterAOneWayCut(t *testing.T, required, pins int) {
	const healed, inARow = 30 * time.Second, 30
	ctx := t.Context()
	who := Credentials{"alice", "the password of alice"}
	c := newReplicated(t, who, required)
	add := func(name string, i int) (p pin, err error) {
		hash, err := multihash.Sum([]byte(fmt.Sprint(name, i)), multihash.IDENTITY, -1)
		if err != nil {
			return p, err
		}
		a := ask(ctx, c.nodes[0], who, time.Now(), http.MethodPost, "/pins", object{"cid": cid.NewCidV1(cid.Raw, hash).String(), "name": name})
		if a.err == nil && a.code != http.StatusAccepted {
			a.err = fmt.Errorf("%d %s", a.code, a.body)
		}
		if a.err != nil {
			return p, a.err
		}
		return p, json.Unmarshal(a.body, &p)
	}
	// A peer that has just become ready may know of no other that could hold a pin, and what it has chosen
	// then is used for a second more.
	probes, right := 0, 0
	if err := eventually(ctx, readyTimeout, func() error {
		probes++
		p, err := add("probe", probes)
		if err != nil || !strings.HasSuffix(p.Info["replicas"], "/2") {
			right = 0
			return fmt.Errorf("replicas %q, %v", p.Info["replicas"], err)
		}
		if right++; right < inARow {
			return fmt.Errorf("%d pins in a row are for 2 peers", right)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	post := func(i int) { _, _ = add("pin", i) } // Some are refused: a peer is missed.
	t.Logf("pin %d was the last for fewer peers", probes-right)
	post(0)
	// Long enough for connections to be given up and for dials to be put off.
	c.network.cut(0, 1)
	for i := 1; i < pins; i++ {
		post(i)
	}
	wait, cancel := context.WithTimeout(ctx, 45*time.Second)
	<-wait.Done()
	cancel()
	for i := range pins {
		post(i)
	}
	c.network.restore(0, 1)
	began := time.Now()
	untrue := func(n *node) error {
		rows, err := listAll(ctx, n, who)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(p pin) bool { return p.Pin.Name == "probe" })
		low := slices.DeleteFunc(slices.Clone(rows), func(p pin) bool { return p.Status == "pinned" && p.Info["replicas"] == "2/2" })
		if len(low) > 0 || len(rows) == 0 {
			return fmt.Errorf("%s: %d of %d pins are not pinned 2/2: %+v", n.name, len(low), len(rows), low[:min(1, len(low))])
		}
		return nil
	}
	for _, n := range c.nodes {
		if err := eventually(ctx, 4*time.Minute, func() error { return untrue(n) }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("%s is right %s after the link has healed", n.name, took.Round(time.Second))
		if took > healed {
			t.Errorf("%s was wrong for %s", n.name, took)
		}
	}
}
