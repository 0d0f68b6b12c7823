package clusterrpc

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// metrics collects what the engine knows of itself, at each scrape. All labels are from
// closed sets: status is one of the four, result is "success" or "failure", peer is the ID of
// a peer that is or was a member, cache and loop are names in this package. docs/operations.md lists the metrics and the alerts on them.
type metrics struct {
	backend *Backend
	// replaced: the metrics of another backend are registered in the place of these.
	replaced atomic.Bool
}

// Descriptions of the metrics, made once for each collector.
var (
	pinsDesc = prometheus.NewDesc("pinsvcapi_pins",
		"Pins in the view, by status.", []string{"status"}, nil)
	failingPinsDesc = prometheus.NewDesc("pinsvcapi_failing_pins",
		"Pins that are lost, waiting, retried or failed at some peer.", nil, nil)
	shortageDesc = prometheus.NewDesc("pinsvcapi_pins_short_of_replicas",
		"Pinned pins with fewer replicas at peers that respond than wanted (allocations) or required (replication_factor_min).", []string{"of"}, nil)
	uncommittedDesc = prometheus.NewDesc("pinsvcapi_uncommitted_writes",
		"Accepted writes that the shared state does not show yet.", nil, nil)
	lostWritesDesc = prometheus.NewDesc("pinsvcapi_lost_writes_total",
		"Accepted writes that the shared state never showed.", nil, nil)
	eventsDesc = prometheus.NewDesc("pinsvcapi_event_queue_length",
		"Changes of the shared state that wait to be read.", nil, nil)
	overflowsDesc = prometheus.NewDesc("pinsvcapi_event_queue_overflows_total",
		"Changes that found the event queue full; the whole state is read instead.", nil, nil)
	resyncsDesc = prometheus.NewDesc("pinsvcapi_resyncs_total",
		"Reads of the whole shared state, by result.", []string{"result"}, nil)
	resyncTookDesc = prometheus.NewDesc("pinsvcapi_last_resync_duration_seconds",
		"Time that the last successful read of the whole shared state took.", nil, nil)
	resyncAtDesc = prometheus.NewDesc("pinsvcapi_last_resync_timestamp_seconds",
		"Unix time of the end of the last successful read of the whole shared state.", nil, nil)
	callsDesc = prometheus.NewDesc("pinsvcapi_peer_polls_total",
		"Polls of a peer for the statuses of pins, by result.", []string{"peer", "result"}, nil)
	breakerDesc = prometheus.NewDesc("pinsvcapi_peer_breaker_open",
		"Whether a peer is not polled because it did not respond (1) or is (0).", []string{"peer"}, nil)
	clockDesc = prometheus.NewDesc("pinsvcapi_peer_clock_skew_seconds",
		"How far the clock of a peer is ahead of this peer's; negative: behind.", []string{"peer"}, nil)
	scanAtDesc = prometheus.NewDesc("pinsvcapi_peer_last_scan_timestamp_seconds",
		"Unix time of the end of the last complete scan of a peer's pins; 0 before the first.", []string{"peer"}, nil)
	rebuildsDesc = prometheus.NewDesc("pinsvcapi_index_rebuilds_total",
		"Times that the index of the view was found damaged and was rebuilt: a bug if not 0.", nil, nil)
	retriesDesc = prometheus.NewDesc("pinsvcapi_retries_total",
		"Requests to peers to retry a pin.", nil, nil)
	metadataDesc = prometheus.NewDesc("pinsvcapi_metadata_repairs_total",
		"Records whose reserved metadata was written back after another tool removed it.", nil, nil)
	hiddenDesc = prometheus.NewDesc("pinsvcapi_replaced_pins",
		"Replaced pins whose content is kept until the new pin is pinned.", nil, nil)
	unpinnedDesc = prometheus.NewDesc("pinsvcapi_replaced_unpins_total",
		"Replaced pins that this peer has unpinned, because the new pin is pinned.", nil, nil)
	incompleteDesc = prometheus.NewDesc("pinsvcapi_incomplete_records",
		"Records whose reserved metadata another tool removed and that wait for their repair.", nil, nil)
	remoteReadsDesc = prometheus.NewDesc("pinsvcapi_remote_reads_total",
		"Requests for pins that this peer did not know, by how they ended.", []string{"outcome"}, nil)
	cacheDesc = prometheus.NewDesc("pinsvcapi_cache_entries",
		"Entries of the caches and interners of the engine.", []string{"cache"}, nil)
	loopDesc = prometheus.NewDesc("pinsvcapi_loop_last_run_timestamp_seconds",
		"Unix time of the end of the last run of a background loop; 0 before the first.", []string{"loop"}, nil)
	readyDesc = prometheus.NewDesc("pinsvcapi_ready",
		"Whether requests can be served (1) or the service is starting (0).", nil, nil)
	readyAfterDesc = prometheus.NewDesc("pinsvcapi_ready_after_seconds",
		"Time from the start of the backend until requests could be served; 0 before.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		pinsDesc, failingPinsDesc, shortageDesc, uncommittedDesc, lostWritesDesc, eventsDesc, overflowsDesc, resyncsDesc,
		resyncTookDesc, resyncAtDesc, callsDesc, breakerDesc, clockDesc, scanAtDesc, rebuildsDesc, retriesDesc, metadataDesc, incompleteDesc,
		hiddenDesc, unpinnedDesc, remoteReadsDesc, cacheDesc, loopDesc, readyDesc, readyAfterDesc,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	counter := func(desc *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	b := m.backend
	for _, status := range []pinsvc.Status{pinsvc.StatusQueued, pinsvc.StatusPinning, pinsvc.StatusPinned, pinsvc.StatusFailed} {
		gauge(pinsDesc, float64(b.view.Count(pinsvc.SetOf(status))), status.String())
	}
	gauge(failingPinsDesc, float64(b.tracker.FailurePins()))
	gauge(shortageDesc, float64(b.shortage.wanted.Load()), "wanted")
	gauge(shortageDesc, float64(b.shortage.required.Load()), "required")
	gauge(uncommittedDesc, float64(b.syncer.Uncommitted().Len()))
	counter(lostWritesDesc, b.syncer.Uncommitted().Lost())

	sync := b.syncer.Stats()
	gauge(eventsDesc, float64(sync.QueuedEvents))
	counter(overflowsDesc, sync.EventOverflows)
	counter(resyncsDesc, sync.Resync.Succeeded, "success")
	counter(resyncsDesc, sync.Resync.Failed, "failure")
	gauge(resyncTookDesc, sync.Resync.Took.Seconds())
	gauge(resyncAtDesc, unixSeconds(sync.Resync.Last))

	for id, stats := range b.poller.Stats() {
		counter(callsDesc, stats.Succeeded, id.String(), "success")
		counter(callsDesc, stats.Failed, id.String(), "failure")
		gauge(breakerDesc, boolValue(stats.Open), id.String())
		gauge(scanAtDesc, unixSeconds(stats.Scanned), id.String())
	}
	for id, skew := range b.clocks.Skews() {
		gauge(clockDesc, skew.Seconds(), id.String())
	}
	counter(rebuildsDesc, uint64(b.view.IndexRebuilds()))
	counter(retriesDesc, b.retrier.Sent())
	counter(metadataDesc, b.metadata.Repaired())
	gauge(incompleteDesc, float64(b.metadata.Waiting()))
	gauge(hiddenDesc, float64(b.index.Len()))
	counter(unpinnedDesc, b.replaced.Unpinned())
	for outcome, n := range b.remote.Counts() {
		counter(remoteReadsDesc, n, outcome)
	}
	caches := b.tracker.CacheSizes()
	caches["delegates"], caches["quiet_pins"] = b.cache.Len(), b.poller.QuietPins()
	for name, entries := range caches {
		gauge(cacheDesc, float64(entries), name)
	}
	for _, name := range loopNames {
		at, _ := b.lastRuns.Load(name)
		last, _ := at.(time.Time)
		gauge(loopDesc, unixSeconds(last), name)
	}
	gauge(readyDesc, boolValue(b.readiness.ready()))
	gauge(readyAfterDesc, b.readiness.took().Seconds())
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unixSeconds is 0 for the zero time.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// registerMetrics registers the metrics, in place of those of a backend before this one.
func (b *Backend) registerMetrics() {
	if b.opts.Registerer == nil {
		return
	}
	b.metrics = &metrics{backend: b}
	err := b.opts.Registerer.Register(b.metrics)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if before, ok := already.ExistingCollector.(*metrics); ok {
			before.replaced.Store(true)
		}
		b.opts.Registerer.Unregister(already.ExistingCollector)
		err = b.opts.Registerer.Register(b.metrics)
	}
	if err != nil {
		log.Warnf("the metrics of the engine are not registered: %s", err)
	}
}

func (b *Backend) unregisterMetrics() {
	if b.metrics != nil && b.metrics.replaced.CompareAndSwap(false, true) {
		b.opts.Registerer.Unregister(b.metrics)
	}
}
