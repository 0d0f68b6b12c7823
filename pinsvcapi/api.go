package pinsvcapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// The names are those of ipfs-cluster, whose daemon sets their levels.
var (
	logger    = log.Logger("pinsvcapi")
	accessLog = log.Logger("pinsvcapilog")
)

// Options are what NewAPI needs beyond the configuration. The zero value is
// good for an embedder.
type Options struct {
	// NewBackend makes the backend of the client that SetClient gets; Close
	// of the backend is called by Shutdown. Nil means clusterrpc.New with
	// BackendOptions, Events and ComponentHealth.
	NewBackend func(*rpc.Client) Backend
	// Events notifies of changes of the shared state: a watch.Tracker, which the
	// embedder has put in the place of the peer's pin tracker. Without it
	// lists show changes that other peers and tools make up to half a minute
	// later. Not used when NewBackend is set.
	Events clusterrpc.EventSource
	// ComponentHealth reports at once when Raft has no leader and when the
	// IPFS node is unavailable. Not used when NewBackend is set.
	ComponentHealth clusterrpc.ComponentHealth
	// Registerer gets the metrics. Those that are registered already, by
	// another API in the process, are shared. Nil means no metrics.
	Registerer prometheus.Registerer
	// Starting returns what the peer waits for before it calls SetClient, in words for clients,
	// or "". It is called for each request until then, and returns from memory. May be nil.
	Starting func() string
	// Version is the version in /health and /. Empty means "unknown".
	Version string
	// Host, when not nil, is a libp2p host of the caller's over which HTTP
	// is served too, unless the configuration sets up a host of the API's
	// own. Shutdown does not close it.
	Host host.Host

	// For tests: rows to add to the table of routes, another writeGrace and others than
	// defaultDrainLimits.
	endpoints  []endpoint
	writeGrace time.Duration
	drain      drainLimits
}

// API is the component: it implements ipfscluster.API. Make one with NewAPI.
// All methods may be called by many goroutines at once.
type API struct {
	cfg    *config.Config
	opts   Options
	users  atomic.Pointer[userSet] // never nil
	logins *loginLimiter
	// warnOfProxy is for one warning about a proxy that trusted_proxies lacks.
	warnOfProxy sync.Once
	certs       *certificates // nil: plain HTTP, or certificates of the embedder's
	routes      *routes
	openAPI     []byte
	metrics     *metrics
	accessLog   accessLogger
	// longBuffers are those of long pages, which are counted.
	buffers, longBuffers bufferPool
	decoder              pinsvc.Decoder

	server    *http.Server
	listeners []*boundedListener // HTTP or HTTPS
	libp2p    *boundedListener   // nil without libp2p
	host      host.Host          // nil without libp2p
	streams   *streamHost        // of host; nil without libp2p
	ownHost   bool
	serving   sync.WaitGroup // the listeners
	requests  waitCounter
	conns     *connections
	admission *admission
	// draining ends when Shutdown begins; cutOff ends the contexts of all
	// requests, with a cause.
	draining   context.Context
	beginDrain context.CancelFunc
	cutOff     context.CancelCauseFunc

	backend atomic.Pointer[backendBox] // nil before SetClient

	lifecycle sync.Mutex // orders SetClient, Reload and Shutdown
	shutdown  bool
	// refusing serves the streams that come during Shutdown; refused ends with it.
	refusing *http.Server
	refused  sync.WaitGroup
}

// backendBox makes an interface fit into an atomic pointer.
type backendBox struct{ Backend }

// NewAPI validates cfg, binds every listener and begins to serve. An address
// that is in use is an error here, and then nothing stays bound. cfg must not
// be changed afterwards; Reload applies another one.
//
// ctx lends its values to the contexts of requests. The end of ctx does not
// end the API: that would abort the requests that Shutdown lets finish.
func NewAPI(ctx context.Context, cfg *config.Config, opts Options) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if opts.NewBackend == nil {
		opts.NewBackend = func(client *rpc.Client) Backend {
			backend := BackendOptions(cfg)
			backend.Events, backend.ComponentHealth = opts.Events, opts.ComponentHealth
			backend.Registerer = opts.Registerer
			return clusterrpc.New(client, backend)
		}
	}
	if opts.Version == "" {
		opts.Version = "unknown"
	}
	if opts.writeGrace == 0 {
		opts.writeGrace = writeGrace
	}
	if opts.drain == (drainLimits{}) {
		opts.drain = defaultDrainLimits()
	}
	api := &API{
		cfg: cfg, opts: opts, openAPI: describedAt(cfg.BasePath),
		conns: newConnections(cfg.MaxConnections), admission: newAdmission(cfg.MaxConcurrentRequests),
		buffers: bufferPool{most: 2 * largeBody}, longBuffers: bufferPool{most: longPieceSize + maxRow},
	}
	table := append(endpoints(), opts.endpoints...)
	api.routes = newRoutes(cfg.BasePath, table)
	if err := api.prepare(); err != nil {
		return nil, err
	}
	api.metrics.expectStreams(table)
	if err := api.listen(); err != nil {
		return nil, errors.Join(err, api.accessLog.Close())
	}
	api.draining, api.beginDrain = context.WithCancel(context.Background())
	api.newServer(ctx)
	api.serve()
	return api, nil
}

// BackendOptions are the settings of the configuration for the backend.
func BackendOptions(cfg *config.Config) clusterrpc.Options {
	maxAge := cfg.StatusMaxAge
	if maxAge == 0 {
		maxAge = -1
	}
	return clusterrpc.Options{
		StatusMaxAge:   maxAge,
		MaxPinAttempts: cfg.MaxPinAttempts,
		ScanInterval:   cfg.StatusSweepInterval,

		// Others can always work on something.
		MaxWaitingReads: cfg.MaxConcurrentRequests / 2,

		ReplicaAwayAfter: cfg.ReplicaAwayAfter,
		ResyncInterval:   cfg.ReconcileInterval,
	}
}

// prepare makes everything that needs no address.
func (api *API) prepare() error {
	users, err := newUserSet(api.cfg)
	if err != nil {
		return err
	}
	api.users.Store(users)
	if api.logins, err = newLoginLimiter(); err != nil {
		return err
	}
	if api.metrics, err = newMetrics(api.opts.Registerer); err != nil {
		return err
	}
	return api.accessLog.open(api.cfg.HTTPLogPath())
}

// newServer makes the HTTP server of all listeners.
func (api *API) newServer(ctx context.Context) {
	requests, cutOff := context.WithCancelCause(context.WithoutCancel(ctx))
	api.cutOff = cutOff
	api.server = api.httpServer(requests)
	api.server.TLSConfig = api.serverTLS()
	api.server.ConnState = api.conns.track
	api.server.RegisterOnShutdown(api.conns.closeUnread)
}

// httpServer makes a server of requests whose contexts are made of base.
func (api *API) httpServer(base context.Context) *http.Server {
	return &http.Server{
		Handler:           api.handler(),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadTimeout:       api.cfg.ReadTimeout,
		ReadHeaderTimeout: api.cfg.ReadHeaderTimeout,
		WriteTimeout:      api.cfg.WriteTimeout,
		IdleTimeout:       api.cfg.IdleTimeout,
		MaxHeaderBytes:    api.cfg.MaxHeaderBytes,
		ErrorLog:          connectionLog(),
	}
}

// SetClient connects the component to the cluster. It is called once, before
// the peer is ready; after Shutdown it does nothing.
func (api *API) SetClient(client *rpc.Client) {
	api.lifecycle.Lock()
	defer api.lifecycle.Unlock()
	if api.shutdown || api.backend.Load() != nil {
		logger.Warn("SetClient was called twice or after Shutdown; the client is not used")
		return
	}
	api.backend.Store(&backendBox{api.opts.NewBackend(client)})
}

// HTTPAddresses are the addresses that serve HTTP, each host:port or the path
// of a socket, in the order of the configuration: with port 0, the port that
// the system chose.
func (api *API) HTTPAddresses() []string {
	addrs := make([]string, len(api.listeners))
	for i, l := range api.listeners {
		addrs[i] = l.Addr().String()
	}
	return addrs
}

// Host is the libp2p host over which HTTP is served, or nil.
func (api *API) Host() host.Host { return api.host }

func logFault(doing string, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		logger.Warnf("%s: %v", doing, err)
	}
}
