package peer

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/divergence"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/origins"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/orphans"
)

// peerMetrics are the metrics of the peer's life. A registry cannot
// distinguish those of a second peer in the process, so both peers share them.
type peerMetrics struct {
	registerer   prometheus.Registerer
	registered   []prometheus.Collector
	readySeconds prometheus.Gauge
	commits      *groupcommit.Metrics
}

func newPeerMetrics(registerer prometheus.Registerer) (*peerMetrics, error) {
	m := &peerMetrics{registerer: registerer, commits: groupcommit.NewMetrics()}
	m.readySeconds = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pinsvc_ready_seconds",
		Help: "Time from the start of the peer until it served requests; 0 until then.",
	})
	return m, m.register(m.readySeconds)
}

// countCommits registers the metrics of the CRDT's commits.
func (m *peerMetrics) countCommits() error {
	var err error
	for _, c := range m.commits.Collectors() {
		err = errors.Join(err, m.register(c))
	}
	return err
}

// countRestarts counts the restarts of the managed IPFS node.
func (m *peerMetrics) countRestarts(restarts func() int) error {
	return m.register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "pinsvc_ipfs_restarts_total",
		Help: "Starts of the managed IPFS node (Kubo) after the first one.",
	}, func() float64 { return float64(restarts()) }))
}

// countOrphans counts the pins of the IPFS node that the cluster does not have.
func (m *peerMetrics) countOrphans(stats func() orphans.Stats) error {
	return errors.Join(
		m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pinsvc_orphan_pins", Help: "Recursive pins of the IPFS node that the cluster does not have and that stay.",
		}, func() float64 { return float64(stats().Orphans) })),
		m.register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "pinsvc_orphan_pins_removed_total", Help: "Pins that the IPFS node had kept after the cluster gave them up, and that were removed.",
		}, func() float64 { return float64(stats().Removed) })),
	)
}

// countDials counts the dials of origins.
func (m *peerMetrics) countDials(stats func() origins.Stats) error {
	counter := func(result string, value func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "pinsvc_origin_dials_total", Help: "Dials of origins, and of IPFS nodes of other members, that have ended, by result.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(value()) })
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	return errors.Join(
		m.register(counter("success", func() uint64 { s := stats(); return s.Dials - s.Failures })),
		m.register(counter("failure", func() uint64 { return stats().Failures })),
		m.register(gauge("pinsvc_origin_dials_in_progress", "Dials of origins that have not ended.", func() int { return stats().Dialling })),
		m.register(gauge("pinsvc_origin_nodes", "Origins, and IPFS nodes of other members, that are dialled until pins in progress end.", func() int { return stats().Nodes })),
	)
}

// countCRDT shows what the CRDT's store contained of go-ds-crdt's faults.
func (m *peerMetrics) countCRDT(mended func() uint64, unfinished func() int) error {
	return errors.Join(
		m.register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "pinsvc_crdt_mended_values_total",
			Help: "Records whose changes were merged at once and that would have become another one than at other peers.",
		}, func() float64 { return float64(mended()) })),
		m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pinsvc_crdt_unfinished_branches",
			Help: "Branches of changes of other peers that are not read to their end.",
		}, func() float64 { return float64(unfinished()) })),
	)
}

// countDivergence shows how the pinset compares with those of other peers.
func (m *peerMetrics) countDivergence(stats func() divergence.Stats) error {
	gauge := func(name, help string, value func(divergence.Stats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value(stats())) })
	}
	return errors.Join(
		m.register(gauge("pinsvc_pinset_differing_peers", "Peers of the cluster whose pinset is another one than this peer's.",
			func(s divergence.Stats) int { return s.Differing })),
		m.register(gauge("pinsvc_pinset_unknown_peers", "Peers of the cluster that have no digest of their pinset now.",
			func(s divergence.Stats) int { return s.Unknown })),
		m.register(gauge("pinsvc_pinset_differing_pins", "Pins that were found to differ from those of another peer when it was last examined.",
			func(s divergence.Stats) int { return s.Pins })),
		m.register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "pinsvc_pinset_repaired_pins_total", Help: "Pins that differed from those of another peer and were repaired here.",
		}, func() float64 { return float64(stats().Repaired) })),
	)
}

// ready sets the time that the peer took until it served requests.
func (m *peerMetrics) ready(took time.Duration) { m.readySeconds.Set(took.Seconds()) }

func (m *peerMetrics) register(c prometheus.Collector) error {
	err := m.registerer.Register(c)
	if already := new(prometheus.AlreadyRegisteredError); errors.As(err, already) {
		return nil
	}
	if err == nil {
		m.registered = append(m.registered, c)
	}
	return err
}

func (m *peerMetrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
}
