package pinsvcapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests. All labels come from closed sets: route is a name
// of the table of routes, "other_method" or "unknown"; method is one of those
// that are served, or "other"; code is a status, 499 included; reason is that
// of a Failure object, or CLIENT_GONE; source is one of those that sourceOf
// knows.
//
//	pinsvcapi_requests_total{route,method,code}
//	pinsvcapi_request_failures_total{route,reason}
//	pinsvcapi_requests_by_source_total{source}
//	pinsvcapi_request_duration_seconds{route,method}
//	pinsvcapi_requests_in_flight
//	pinsvcapi_streams_open{route}
//	pinsvcapi_stream_duration_seconds{route}
//	pinsvcapi_failed_logins_total
//	pinsvcapi_dropped_origins_total{reason}
//	pinsvcapi_reloads_total{result}
//
// Requests per second, and the share of those that failed on our side:
//
//	sum by (route) (rate(pinsvcapi_requests_total[5m]))
//	sum(rate(pinsvcapi_requests_total{code=~"5.."}[5m])) / sum(rate(pinsvcapi_requests_total[5m]))
type metrics struct {
	requests       *prometheus.CounterVec
	failures       *prometheus.CounterVec
	bySource       *prometheus.CounterVec
	seconds        *prometheus.HistogramVec
	inFlight       prometheus.Gauge
	openStreams    *prometheus.GaugeVec
	streamTime     *prometheus.HistogramVec
	failedLogins   prometheus.Counter
	reloads        *prometheus.CounterVec
	droppedOrigins *prometheus.CounterVec
}

// newMetrics registers with reg, or nowhere when that is nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	r := registration{reg: reg}
	m := &metrics{
		requests: registered(&r, prometheus.NewCounterVec(counter("requests_total",
			"Requests that have ended."), []string{"route", "method", "code"})),
		failures: registered(&r, prometheus.NewCounterVec(counter("request_failures_total",
			"Requests that failed, by the reason in the response."), []string{"route", "reason"})),
		bySource: registered(&r, prometheus.NewCounterVec(counter("requests_by_source_total",
			"Requests with an X-Request-Source header."), []string{"source"})),
		seconds: registered(&r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "request_duration_seconds",
			Help:    "Time from the request's headers to the end of its response, of streams to its beginning.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"})),
		inFlight: registered(&r, prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "requests_in_flight",
			Help: "Requests that have not ended, streams included.",
		})),
		openStreams: registered(&r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "streams_open",
			Help: "Streaming responses that have not ended.",
		}, []string{"route"})),
		streamTime: registered(&r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "stream_duration_seconds",
			Help:    "How long streaming responses lasted.",
			Buckets: []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600},
		}, []string{"route"})),
		failedLogins: registered(&r, prometheus.NewCounter(counter("failed_logins_total",
			"Requests with credentials that are wrong."))),
		reloads: registered(&r, prometheus.NewCounterVec(counter("reloads_total",
			"Reloads of users, certificates and the log file."), []string{"result"})),
		droppedOrigins: registered(&r, prometheus.NewCounterVec(counter("dropped_origins_total",
			"Origins of requests that were not kept: not understood (unknown) or above the limit (excess)."), []string{"reason"})),
	}
	for _, result := range []string{reloadOK, reloadFailed} {
		m.reloads.WithLabelValues(result)
	}
	for _, reason := range []string{originUnknown, originExcess} {
		m.droppedOrigins.WithLabelValues(reason)
	}
	return m, r.err
}

// Values of labels. Their counters are there, and zero, before the first event:
// the first increase of a counter that appears with it is invisible to rate.
const (
	reloadOK, reloadFailed      = "ok", "failed"
	originUnknown, originExcess = "unknown", "excess"
)

// expectStreams makes the metrics of the routes that stream.
func (m *metrics) expectStreams(table []endpoint) {
	for _, e := range table {
		if e.policy.streams {
			m.openStreams.WithLabelValues(e.name)
			m.streamTime.WithLabelValues(e.name)
		}
	}
}

const namespace = "pinsvcapi"

func counter(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
}

// registration remembers the first failure of several.
type registration struct {
	reg prometheus.Registerer // nil: nothing is registered
	err error
}

// registered returns the collector to use: c, or the one that is registered
// already.
func registered[C prometheus.Collector](r *registration, c C) C {
	if r.reg == nil || r.err != nil {
		return c
	}
	err := r.reg.Register(c)
	if err == nil {
		return c
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	r.err = fmt.Errorf("registering the metrics of pinsvcapi: %w", err)
	return c
}

// count counts a request that has ended. The length of a stream is no latency:
// its latency ends where the stream begins.
func (m *metrics) count(rq *request) {
	e, method := &rq.event, knownMethod(rq.event.Method)
	m.requests.WithLabelValues(e.Route, method, strconv.Itoa(e.Status)).Inc()
	latency := time.Since(rq.start)
	if !rq.streamStart.IsZero() {
		latency = rq.streamStart.Sub(rq.start)
	}
	m.seconds.WithLabelValues(e.Route, method).Observe(latency.Seconds())
	if e.Reason != "" {
		m.failures.WithLabelValues(e.Route, e.Reason).Inc()
	}
	if e.Source != "" {
		m.bySource.WithLabelValues(e.Source).Inc()
	}
}

// openStream counts a stream that begins; the result is called at its end.
func (m *metrics) openStream(rq *request) (end func()) {
	route := rq.route.label()
	m.openStreams.WithLabelValues(route).Inc()
	return func() {
		m.openStreams.WithLabelValues(route).Dec()
		m.streamTime.WithLabelValues(route).Observe(time.Since(rq.streamStart).Seconds())
	}
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions,
		http.MethodPut, http.MethodPatch:
		return method
	default:
		return "other"
	}
}
