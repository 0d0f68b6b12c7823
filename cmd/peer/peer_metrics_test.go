package peer

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/origins"
)

// gathered are the values of the metrics of a registry without labels.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	noError(t, err)
	values := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			values[family.GetName()] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return values
}

func TestPeerMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newPeerMetrics(registry)
	noError(t, err)
	restarts := 0
	noError(t, m.countRestarts(func() int { return restarts }))
	if got := gathered(t, registry); got["pinsvc_ready_seconds"] != 0 || got["pinsvc_ipfs_restarts_total"] != 0 || len(got) != 2 {
		t.Errorf("at the start: %v", got)
	}
	restarts = 3
	m.ready(1500 * time.Millisecond)
	if got := gathered(t, registry); got["pinsvc_ready_seconds"] != 1.5 || got["pinsvc_ipfs_restarts_total"] != 3 {
		t.Errorf("once ready: %v", got)
	}

	noError(t, m.countDials(func() origins.Stats { return origins.Stats{Dials: 5, Failures: 2, Dialling: 1, Nodes: 4} }))
	if got := gathered(t, registry); got["pinsvc_origin_dials_total"] != 3 && got["pinsvc_origin_dials_total"] != 2 ||
		got["pinsvc_origin_dials_in_progress"] != 1 || got["pinsvc_origin_nodes"] != 4 {
		t.Errorf("of origins: %v", got)
	}

	second, err := newPeerMetrics(registry)
	noError(t, err)
	second.unregister()
	if got := gathered(t, registry); len(got) != 5 {
		t.Errorf("a second peer took the metrics of the first away: %v", got)
	}
	m.unregister()
	if got := gathered(t, registry); len(got) != 0 {
		t.Errorf("after the stop: %v", got)
	}
}
