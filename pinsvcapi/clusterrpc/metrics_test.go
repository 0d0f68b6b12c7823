package clusterrpc_test

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// gather reads a registry: the value of each series, named with its label values.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				value := label.GetValue()
				if value == clusterfake.Self().String() {
					value = "self"
				}
				name += " " + value
			}
			values[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return values
}

func wantMetrics(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s is %v (there: %t), want %v", name, v, ok, value)
		}
	}
}

func TestMetrics_AllAreThere(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	ready(t, clusterfake.New(), clusterrpc.Options{Registerer: registry})
	await.True(t, "the peer was polled", func() bool { return gather(t, registry)["pinsvcapi_peer_breaker_open self"] == 0 })
	values := gather(t, registry)
	for _, name := range []string{
		"pinsvcapi_pins queued", "pinsvcapi_pins pinning", "pinsvcapi_pins pinned", "pinsvcapi_pins failed",
		"pinsvcapi_pins_short_of_replicas wanted", "pinsvcapi_pins_short_of_replicas required",
		"pinsvcapi_loop_last_run_timestamp_seconds shortage", "pinsvcapi_loop_last_run_timestamp_seconds clocks",
		"pinsvcapi_failing_pins", "pinsvcapi_uncommitted_writes", "pinsvcapi_lost_writes_total",
		"pinsvcapi_event_queue_length", "pinsvcapi_event_queue_overflows_total",
		"pinsvcapi_resyncs_total success", "pinsvcapi_resyncs_total failure",
		"pinsvcapi_last_resync_duration_seconds", "pinsvcapi_last_resync_timestamp_seconds",
		"pinsvcapi_peer_polls_total self success", "pinsvcapi_peer_polls_total self failure",
		"pinsvcapi_peer_breaker_open self", "pinsvcapi_peer_last_scan_timestamp_seconds self",
		"pinsvcapi_index_rebuilds_total", "pinsvcapi_retries_total", "pinsvcapi_metadata_repairs_total", "pinsvcapi_incomplete_records",
		"pinsvcapi_remote_reads_total arrived", "pinsvcapi_remote_reads_total elsewhere", "pinsvcapi_remote_reads_total absent",
		"pinsvcapi_remote_reads_total unanswered", "pinsvcapi_remote_reads_total limited",
		"pinsvcapi_cache_entries placements", "pinsvcapi_cache_entries vectors", "pinsvcapi_cache_entries origins",
		"pinsvcapi_cache_entries summaries", "pinsvcapi_cache_entries delegates", "pinsvcapi_cache_entries quiet_pins",
		"pinsvcapi_loop_last_run_timestamp_seconds settle", "pinsvcapi_loop_last_run_timestamp_seconds retry",
		"pinsvcapi_loop_last_run_timestamp_seconds metadata", "pinsvcapi_loop_last_run_timestamp_seconds active_poll",
		"pinsvcapi_loop_last_run_timestamp_seconds replaced", "pinsvcapi_replaced_pins", "pinsvcapi_replaced_unpins_total",
		"pinsvcapi_ready", "pinsvcapi_ready_after_seconds",
	} {
		if _, ok := values[name]; !ok {
			t.Errorf("there is no %s", name)
		}
		delete(values, name)
	}
	for name := range values {
		t.Errorf("%s is not documented here", name)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestMetrics_Move(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	fake := clusterfake.New()
	release := fake.Hang("Cluster.Pins")
	clock := &clusterfake.Clock{}
	b := start(t, fake, clusterrpc.Options{
		Registerer: registry, Now: clock.Now, BatchAge: time.Millisecond, MaxPinAttempts: 3, ActivePollInterval: time.Nanosecond,
	})
	await.True(t, "reading", func() bool { return fake.Called("Cluster.Pins") > 0 })
	wantMetrics(t, gather(t, registry), map[string]float64{"pinsvcapi_ready": 0, "pinsvcapi_ready_after_seconds": 0, "pinsvcapi_resyncs_total success": 0})
	clock.Advance(7 * time.Second)
	release()
	b.untilReady()
	at := float64(clock.Now().Unix())
	wantMetrics(t, gather(t, registry), map[string]float64{
		"pinsvcapi_ready": 1, "pinsvcapi_ready_after_seconds": 7, "pinsvcapi_resyncs_total success": 1,
		"pinsvcapi_last_resync_duration_seconds": 7, "pinsvcapi_last_resync_timestamp_seconds": at,
		"pinsvcapi_peer_last_scan_timestamp_seconds self": at,
	})
	// Writes, events, retries, repairs, polls.
	b.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "mine"})
	rec, _ := fake.Record(pinsvctest.RawCID(1))
	rec.Metadata, rec.Timestamp = nil, rec.Timestamp.Add(time.Second)
	b.changed(rec)
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusUnexpectedlyUnpinned, "gone"))
	await.True(t, "retried and repaired", func() bool {
		clock.Advance(time.Second)
		b.get(rec.Cid.Cid)
		values := gather(t, registry)
		return values["pinsvcapi_retries_total"] > 0 && values["pinsvcapi_metadata_repairs_total"] > 0 && values["pinsvcapi_failing_pins"] == 1
	})
	values := gather(t, registry)
	wantMetrics(t, values, map[string]float64{"pinsvcapi_pins pinning": 1, "pinsvcapi_uncommitted_writes": 0})
	if values["pinsvcapi_peer_polls_total self success"] == 0 {
		t.Error("no poll is counted")
	}
	fake.Set(func() { fake.Batching = true })
	b.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	wantMetrics(t, gather(t, registry), map[string]float64{"pinsvcapi_uncommitted_writes": 1, "pinsvcapi_lost_writes_total": 0})
	fake.Lose()
	await.True(t, "it is lost", func() bool {
		for range 20 { // The backend itself does it once a second.
			clock.Advance(5 * time.Second)
			b.Syncer().Uncommitted().Age()
		}
		return gather(t, registry)["pinsvcapi_lost_writes_total"] == 1
	})
	fake.Fail("Cluster.Pins", errBroken)
	b.Syncer().RequestResync()
	await.True(t, "a resync failed", func() bool { return gather(t, registry)["pinsvcapi_resyncs_total failure"] > 0 })
}

// A backend that is closed takes its own metrics away, not those of the one after it.
func TestMetrics_OfTwoBackendsOnOneRegistry(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	first := ready(t, clusterfake.New(), clusterrpc.Options{Registerer: registry})
	first.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	fake := clusterfake.New()
	fake.Pinging = nil
	second := start(t, fake, clusterrpc.Options{Registerer: registry})
	wantMetrics(t, gather(t, registry), map[string]float64{"pinsvcapi_ready": 0})
	first.Close()
	wantMetrics(t, gather(t, registry), map[string]float64{"pinsvcapi_ready": 0})
	second.Close()
	if n := len(gather(t, registry)); n != 0 {
		t.Errorf("%d series are left", n)
	}
}
