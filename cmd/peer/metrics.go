package peer

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"contrib.go.opencensus.io/exporter/prometheus"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	ocgorpc "github.com/lanzafame/go-libp2p-ocgorpc"
	manet "github.com/multiformats/go-multiaddr/net"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opencensus.io/plugin/ochttp"
	"go.opencensus.io/stats/view"
	"go.opencensus.io/zpages"
)

// metricsServer serves what upstream's observations.SetupMetrics serves, at
// the same paths. It is by hand because upstream's cannot be stopped, ends the
// process when its port is taken and panics when it is set up a second time
// (U11 in docs/upstream-faults.md).
type metricsServer struct {
	server   *http.Server
	exporter view.Exporter
	done     chan error
}

// startMetrics collects and serves metrics on a listener that is bound when it
// returns.
func startMetrics(cfg *observations.MetricsConfig) (*metricsServer, error) {
	for _, collector := range []prom.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		err := observations.PromRegistry.Register(collector)
		if already := new(prom.AlreadyRegisteredError); err != nil && !errors.As(err, already) {
			return nil, err
		}
	}
	exporter, err := prometheus.NewExporter(prometheus.Options{
		Namespace: "ipfscluster",
		Registry:  observations.PromRegistry,
		OnError:   func(err error) { logger.Debugf("metrics: %s", err) },
	})
	if err != nil {
		return nil, err
	}
	if err := registerViews(); err != nil {
		return nil, err
	}
	network, addr, err := manet.DialArgs(cfg.PrometheusEndpoint)
	if err != nil {
		return nil, fmt.Errorf("observations.metrics.prometheus_endpoint: %w", err)
	}
	listener, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	view.RegisterExporter(exporter)
	view.SetReportingPeriod(cfg.ReportingInterval)
	m := &metricsServer{
		server:   &http.Server{Handler: metricsRoutes(exporter), ReadHeaderTimeout: 10 * time.Second},
		exporter: exporter,
		done:     make(chan error, 1),
	}
	go func() { m.done <- m.server.Serve(listener) }()
	logger.Infof("metrics on http://%s/metrics", listener.Addr())
	return m, nil
}

func registerViews() error {
	for _, views := range [][]*view.View{
		observations.DefaultViews,
		ocgorpc.DefaultServerViews,
		{
			ochttp.ClientCompletedCount, ochttp.ClientRoundtripLatencyDistribution,
			ochttp.ClientReceivedBytesDistribution, ochttp.ClientSentBytesDistribution,
			ochttp.ServerRequestCountView, ochttp.ServerRequestBytesView, ochttp.ServerResponseBytesView,
			ochttp.ServerLatencyView, ochttp.ServerRequestCountByMethod, ochttp.ServerResponseCountByStatusCode,
		},
	} {
		if err := view.Register(views...); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

func metricsRoutes(exporter http.Handler) http.Handler {
	mux := http.NewServeMux()
	zpages.Handle(mux, "/debug")
	mux.Handle("/metrics", exporter)
	mux.Handle("/debug/vars", expvar.Handler())
	mux.HandleFunc("/debug/pprof/", pprof.Index) // The named profiles too.
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// close stops serving and waits for it.
func (m *metricsServer) close(ctx context.Context) error {
	view.UnregisterExporter(m.exporter)
	err := m.server.Shutdown(ctx)
	if err != nil { // A running profile, for example.
		err = errors.Join(err, m.server.Close())
	}
	if served := <-m.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
