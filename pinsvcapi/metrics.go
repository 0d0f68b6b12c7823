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
// that we serve, or "other"; code is a status that we answer with, or 499.
//
//	pinsvcapi_requests_total{route,method,code}
//	pinsvcapi_request_duration_seconds{route,method}
//	pinsvcapi_requests_in_flight
//
// Requests per second, and the share of those that failed on our side:
//
//	sum by (route) (rate(pinsvcapi_requests_total[5m]))
//	sum(rate(pinsvcapi_requests_total{code=~"5.."}[5m])) / sum(rate(pinsvcapi_requests_total[5m]))
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// newMetrics registers with reg, or nowhere when that is nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const namespace = "pinsvcapi"
	requests, err := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "requests_total",
		Help: "Requests that were answered.",
	}, []string{"route", "method", "code"}))
	if err != nil {
		return nil, err
	}
	seconds, err := register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "request_duration_seconds",
		Help:    "Time from the request's headers to its answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route", "method"}))
	if err != nil {
		return nil, err
	}
	inFlight, err := register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "requests_in_flight",
		Help: "Requests that are being answered.",
	}))
	if err != nil {
		return nil, err
	}
	return &metrics{requests: requests, seconds: seconds, inFlight: inFlight}, nil
}

// register uses the collector that is registered already, if there is one.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	if reg == nil {
		return c, nil
	}
	err := reg.Register(c)
	if err == nil {
		return c, nil
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := already.ExistingCollector.(C); ok {
			return same, nil
		}
	}
	return c, fmt.Errorf("registering the metrics of pinsvcapi: %w", err)
}

// measure counts the request once it has been answered.
func (api *API) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		api.metrics.inFlight.Inc()
		defer func() {
			api.metrics.inFlight.Dec()
			x, method := exchangeOf(r), knownMethod(r.Method)
			api.metrics.requests.WithLabelValues(x.route(), method, strconv.Itoa(x.status(rec))).Inc()
			api.metrics.seconds.WithLabelValues(x.route(), method).Observe(time.Since(x.start).Seconds())
		}()
		next.ServeHTTP(rec, r)
	})
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
