package pinsvcapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are the samples of a registry by name and labels.
func counts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.Metric {
			key := strings.TrimPrefix(family.GetName(), "pinsvcapi_")
			for _, label := range m.Label {
				key += " " + label.GetValue()
			}
			counts[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return counts
}

func TestMetrics_HaveClosedLabels(t *testing.T) {
	s := start(t)
	for i := range 5 {
		s.do(http.MethodGet, fmt.Sprintf("/pins/%d", i), "").is(404)
		s.do(http.MethodGet, fmt.Sprintf("/random%d", i), "").is(404)
		s.do(fmt.Sprintf("BREW%d", i), "/pins", "").is(405)
	}
	s.do(http.MethodGet, "/pins", "", anonymous).is(401)
	// The client has its response a moment before it is counted.
	s.shutdown(context.Background())
	want := map[string]float64{
		"requests_total 401 GET list_pins":                       1,
		"requests_total 404 GET get_pin":                         5,
		"requests_total 404 GET unknown":                         5,
		"requests_total 405 other other_method":                  5,
		"request_duration_seconds GET list_pins":                 1,
		"request_duration_seconds GET get_pin":                   5,
		"request_duration_seconds GET unknown":                   5,
		"request_duration_seconds other other_method":            5,
		"requests_in_flight":                                     0,
		"request_failures_total UNAUTHORIZED list_pins":          1,
		"request_failures_total NOT_FOUND get_pin":               5,
		"request_failures_total NOT_FOUND unknown":               5,
		"request_failures_total METHOD_NOT_ALLOWED other_method": 5,
		"failed_logins_total":                                    0,
		"reloads_total ok":                                       0,
		"reloads_total failed":                                   0,
		"dropped_origins_total unknown":                          0,
		"dropped_origins_total excess":                           0,
	}
	if got := counts(t, s.metrics); !maps.Equal(got, want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}

func TestMetrics_TwoAPIsShareARegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		s := start(t, func(set *setup) { set.opts.Registerer = registry })
		s.do(http.MethodGet, "/health", "").is(200)
		s.shutdown(context.Background())
	}
	if got := counts(t, registry)["requests_total 200 GET health"]; got != 2 {
		t.Errorf("%v requests were counted, want 2", got)
	}
	foreign := prometheus.NewRegistry()
	foreign.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "pinsvcapi_requests_total", Help: "another"}))
	if _, err := NewAPI(t.Context(), testConfig(t), Options{Registerer: foreign}); err == nil {
		t.Error("a metric of the same name is no error")
	}
}

func TestMetrics_OfStreamsAreThereBeforeTheFirst(t *testing.T) {
	s := start(t, streaming(untilDrained))
	got := counts(t, s.metrics)
	for _, name := range []string{"streams_open stream", "stream_duration_seconds stream"} {
		if value, found := got[name]; !found || value != 0 {
			t.Errorf("%s is %v, %t", name, value, found)
		}
	}
}
