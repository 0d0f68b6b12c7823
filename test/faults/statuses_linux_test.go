package faults

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
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

func statusesAfterAOneWayCut(t *testing.T, required, pins int) {
	const healed = 30 * time.Second
	ctx := t.Context()
	who := Credentials{"alice", "the password of alice"}
	c, err := newCluster(ctx, settings{mode: CRDT, users: map[string]string{who.User: who.Password}}, folder(t), programs{harness.Service(t), harness.Ipfs(t)})
	if c != nil {
		defer func() {
			if err := c.close(""); err != nil {
				t.Error(err)
			}
		}()
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
	post := func(i int) error {
		hash, err := multihash.Sum([]byte(fmt.Sprintf("pin %d", i)), multihash.IDENTITY, -1)
		if err != nil {
			return err
		}
		a := ask(ctx, c.nodes[0], who, time.Now(), http.MethodPost, "/pins", object{"cid": cid.NewCidV1(cid.Raw, hash).String()})
		if a.err == nil && a.code != http.StatusAccepted {
			a.err = fmt.Errorf("%d %s", a.code, a.body)
		}
		return a.err
	}
	if err := eventually(ctx, readyTimeout, func() error { return post(0) }); err != nil {
		t.Fatal(err)
	}
	// Long enough for connections to be given up and for dials to be put off.
	c.network.cut(0, 1)
	for i := 1; i < pins; i++ {
		_ = post(i) // Some are refused: a peer is missed.
	}
	wait, cancel := context.WithTimeout(ctx, 45*time.Second)
	<-wait.Done()
	cancel()
	for i := range pins {
		_ = post(i)
	}
	c.network.restore(0, 1)
	began := time.Now()
	untrue := func(n *node) error {
		rows, err := listAll(ctx, n, who)
		if err != nil {
			return err
		}
		low := 0
		for _, row := range rows {
			if row.Status != "pinned" || row.Info["replicas"] != "2/2" {
				low++
			}
		}
		if low > 0 || len(rows) == 0 {
			return fmt.Errorf("%s: %d of %d pins are not pinned 2/2", n.name, low, len(rows))
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
