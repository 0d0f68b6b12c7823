package pinsvcapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
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
	// Events announce changes of the shared state: a watch.Tracker, which the
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
	// Version is what /health says. Empty means "unknown".
	Version string
	// Host, when not nil, is a libp2p host of the caller's over which HTTP
	// is served too, unless the configuration asks for a host of the API's
	// own. Shutdown does not close it.
	Host host.Host
}

// API is the component: it implements ipfscluster.API. Make one with NewAPI.
// All methods may be called by many goroutines at once.
type API struct {
	cfg     *config.Config
	opts    Options
	auth    *auth.Authenticator // nil: nobody needs to log in
	routes  *routes
	metrics *metrics
	access  accessWriter
	bodies  bodies

	server    *http.Server
	listeners []net.Listener // HTTP or HTTPS
	libp2p    net.Listener   // nil without libp2p
	host      host.Host      // nil without libp2p
	ownHost   bool
	serving   sync.WaitGroup     // the listeners
	running   running            // the requests
	cancel    context.CancelFunc // ends the contexts of all requests

	backend atomic.Pointer[holder] // nil before SetClient

	life     sync.Mutex // orders SetClient and Shutdown
	shutdown bool
}

// holder makes an interface fit into an atomic pointer.
type holder struct{ Backend }

// NewAPI validates cfg, binds every listener and begins to serve. An address
// that is in use is an error here, and then nothing stays bound. cfg must not
// be changed afterwards.
//
// ctx lends its values to the contexts of requests; that it ends does not end
// the API, which would abort the requests that Shutdown lets finish.
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
	api := &API{cfg: cfg, opts: opts, routes: newRoutes()}
	if err := api.prepare(); err != nil {
		return nil, err
	}
	if err := api.listen(); err != nil {
		return nil, errors.Join(err, api.access.Close())
	}
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	api.cancel = cancel
	api.server = &http.Server{
		Handler:           api.handler(),
		BaseContext:       func(net.Listener) context.Context { return requests },
		TLSConfig:         cfg.TLS.Clone(),
		ReadTimeout:       cfg.ReadTimeout,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ErrorLog:          connectionLog(),
	}
	quiet := &silent{conns: make(map[net.Conn]struct{})}
	api.server.ConnState = quiet.watch
	api.server.RegisterOnShutdown(quiet.close)
	api.run()
	return api, nil
}

// BackendOptions are what the configuration says of the backend.
func BackendOptions(cfg *config.Config) clusterrpc.Options {
	return clusterrpc.Options{
		MaxPinAttempts: cfg.MaxPinAttempts,
		ScanInterval:   cfg.StatusSweepInterval,
		ResyncInterval: cfg.ReconcileInterval,
	}
}

// prepare makes all that needs no address.
func (api *API) prepare() (err error) {
	if len(api.cfg.BasicAuthCredentials) > 0 {
		if api.auth, err = auth.New(api.cfg.BasicAuthCredentials); err != nil {
			return fmt.Errorf("api.pinsvcapi.basic_auth_credentials: %w", err)
		}
	}
	if api.metrics, err = newMetrics(api.opts.Registerer); err != nil {
		return err
	}
	api.access, err = newAccessWriter(api.cfg.HTTPLogPath())
	return err
}

// SetClient connects the component to the cluster. It is called once, before
// the peer is ready; after Shutdown it does nothing.
func (api *API) SetClient(client *rpc.Client) {
	api.life.Lock()
	defer api.life.Unlock()
	if api.shutdown || api.backend.Load() != nil {
		logger.Warn("a client was set twice or after the shutdown; it is not used")
		return
	}
	api.backend.Store(&holder{api.opts.NewBackend(client)})
}

// HTTPAddresses are where HTTP is served, each host:port or the path of a
// socket, in the order of the configuration: with port 0, the port that the
// system chose.
func (api *API) HTTPAddresses() []string {
	addrs := make([]string, len(api.listeners))
	for i, l := range api.listeners {
		addrs[i] = l.Addr().String()
	}
	return addrs
}

// Host is the libp2p host over which HTTP is served, or nil.
func (api *API) Host() host.Host { return api.host }

// Shutdown stops accepting, lets running requests finish for as long as the
// configuration's shutdown_timeout and ctx allow, and closes the rest: the
// connections, the backend and the API's own libp2p host. It may be called
// any number of times. It always returns nil, because an error would make the
// cluster skip the rest of its own shutdown; faults are logged.
func (api *API) Shutdown(ctx context.Context) error {
	api.life.Lock()
	defer api.life.Unlock()
	if api.shutdown {
		return nil
	}
	api.shutdown = true
	api.drain(ctx)
	if b := api.backend.Load(); b != nil {
		b.Close()
	}
	if api.ownHost {
		logFault("closing the libp2p host", api.host.Close())
	}
	logFault("closing the access log", api.access.Close())
	return nil
}

func logFault(doing string, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		logger.Warnf("%s: %v", doing, err)
	}
}

// accessWriter is where access events go.
type accessWriter interface {
	write(event accessEvent)
	io.Closer
}
