package clusterrpc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// A dead peer is no copy: the replicas say so, and a re-POST gives the pin to a peer that lives.
func TestPresence_ADeadPeerIsNoReplicaAndIsReplacedByAReAdd(t *testing.T) {
	peers := clustertest.Start(t, 4, clustertest.Options{ReplicationMin: 2, ReplicationMax: 3})
	for i, p := range peers {
		p.Node.SetAddresses(fmt.Sprintf("/ip4/1.2.3.%d/tcp/4001", i+1))
	}
	registry := prometheus.NewRegistry()
	s := service{newBackend(t, peers[0], clusterrpc.Options{ReplicaAwayAfter: 10 * time.Second, Registerer: registry}), t, peers[0]}
	// The one that dies holds all of these pins.
	var pins []pinsvc.PinStatus
	var dead *clustertest.Peer
	for i := 0; len(pins) < 5; i++ {
		st := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(i), Name: "x"})
		rec, err := peers[0].Cluster.PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(i)))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range peers[1:] {
			if dead == nil && slices.Contains(rec.Allocations, p.ID()) {
				dead = p
			}
		}
		if slices.Contains(rec.Allocations, dead.ID()) {
			pins = append(pins, st)
		}
	}
	replicas := func(i int, want string, details ...string) {
		t.Helper()
		await.Success(t, "the replicas are "+want, func() error {
			page := s.list(pinsvc.Query{CIDs: []cid.Cid{pins[i].Pin.CID}})
			got := s.get(pins[i].RequestID)
			if len(page.Results) != 1 || page.Results[0].Info["replicas"] != want || got.Info["replicas"] != want || got.Status != pinsvc.StatusPinned {
				return fmt.Errorf("%s %v, in a list %v", got.Status, got.Info, page.Results)
			}
			for _, text := range details {
				if !strings.Contains(got.Info["status_details"], text) || !strings.Contains(page.Results[0].Info["status_details"], text) {
					return errors.New(got.Info["status_details"])
				}
			}
			return nil
		})
	}
	for i := range pins {
		replicas(i, "3/3")
	}
	dead.Close()
	for i := range pins {
		replicas(i, "2/3", dead.ID().String()+" since ", "api.pinsvcapi.replica_away_after")
	}
	// Two of three are enough: they lack what is wanted, and nothing that is required.
	await.Success(t, "the metrics have the pins that lack a replica", func() error {
		values := gather(t, registry)
		wanted, required := values["pinsvcapi_pins_short_of_replicas wanted"], values["pinsvcapi_pins_short_of_replicas required"]
		if wanted != float64(len(pins)) || required != 0 {
			return fmt.Errorf("%v of %d lack what is wanted, %v what is required", wanted, len(pins), required)
		}
		return nil
	})
	s.add(pinsvc.Pin{CID: pins[0].Pin.CID, Name: "again"})
	rec, err := peers[0].Cluster.PinGet(t.Context(), api.NewCid(pins[0].Pin.CID))
	if err != nil || len(rec.Allocations) != 3 || slices.Contains(rec.Allocations, dead.ID()) {
		t.Errorf("after the re-add the pin is given to %v: %v", rec.Allocations, err)
	}
	await.Success(t, "a list says so, though nobody reads the pin by itself", func() error {
		if got := s.list(pinsvc.Query{CIDs: []cid.Cid{pins[0].Pin.CID}}).Results[0].Info["replicas"]; got != "3/3" {
			return errors.New(got)
		}
		return nil
	})
	replicas(0, "3/3")
	replicas(1, "2/3")
}

// With one clock back a cluster of two that needs two refuses every pin, and says that the clock
// is the cause.
func TestClocks_AClockThatIsBackIsNamed(t *testing.T) {
	peers := clustertest.Start(t, 2, clustertest.Options{ReplicationMin: 2, ReplicationMax: 2})
	for i, p := range peers {
		p.Node.SetAddresses(fmt.Sprintf("/ip4/1.2.3.%d/tcp/4001", i+1))
	}
	registry := prometheus.NewRegistry()
	b := newBackend(t, peers[0], clusterrpc.Options{Registerer: registry, Connected: peers[0].Host.Network().Peers})
	s := service{b, t, peers[0]}
	s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if details := b.HealthDetails(); len(details) != 0 {
		t.Errorf("clocks that agree: %q", details)
	}
	peers[1].Tracker.SetClock(-26 * time.Minute)
	cause := "the clock of peer " + peers[1].ID().String() + " is 26m0s behind that of this peer"
	tries := 1
	await.Success(t, "a pin is refused for the clock", func() error {
		tries++
		_, err := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(tries)})
		if pinsvc.KindOf(err) != pinsvc.KindUnavailable || !strings.Contains(pinsvc.FailureOf(err).Details, cause) ||
			!strings.Contains(pinsvc.FailureOf(err).Details, "not enough peers available") {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	if details := b.HealthDetails(); len(details) != 1 || !strings.Contains(details[0], cause) {
		t.Errorf("/ready tells %q", details)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	skew := 0.0
	for _, family := range families {
		if family.GetName() == "pinsvcapi_peer_clock_skew_seconds" {
			skew = family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	if skew > -1559 || skew < -1561 {
		t.Errorf("the metric has %v", skew)
	}
	peers[1].Tracker.SetClock(0)
	await.Success(t, "pins are accepted again, and nothing is told", func() error {
		tries++
		_, err := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(tries)})
		b.MeasureClocks(t.Context())
		if details := b.HealthDetails(); err == nil && len(details) > 0 {
			err = errors.New(details[0])
		}
		return err
	})
}
