package groupcommit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of the commits of one Committer.
type Metrics struct {
	size     prometheus.Histogram
	duration prometheus.Histogram
	sync     prometheus.Histogram
	failed   prometheus.Counter
	ignored  prometheus.Counter
	queued   prometheus.Gauge
}

// NewMetrics makes metrics, which are not registered.
func NewMetrics() *Metrics {
	return &Metrics{
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pinsvc_commit_writes", Help: "Writes in one commit of the shared state.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pinsvc_commit_seconds", Help: "Time of a commit of the shared state, from its first write to the end of its sync.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pinsvc_commit_sync_seconds", Help: "Time that the disk took to sync a commit of the shared state.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pinsvc_commit_failures_total", Help: "Commits of the shared state that failed, each try counted.",
		}),
		ignored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pinsvc_commit_ignored_total", Help: "Writes that the state ignored and that were committed again.",
		}),
		queued: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pinsvc_commit_queue", Help: "Writes that wait for their commit.",
		}),
	}
}

// Collectors are all of them.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.size, m.duration, m.sync, m.failed, m.ignored, m.queued}
}

// Synced observes a sync.
func (m *Metrics) Synced(took time.Duration) { m.sync.Observe(took.Seconds()) }

func (m *Metrics) committed(writes int, took time.Duration) {
	if writes == 0 {
		return
	}
	m.size.Observe(float64(writes))
	m.duration.Observe(took.Seconds())
}
