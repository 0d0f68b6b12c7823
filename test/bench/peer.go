package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	upstream "github.com/ipfs-cluster/ipfs-cluster/api/pinsvcapi"
	"github.com/ipfs-cluster/ipfs-cluster/datastore/pebble"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	pebbleds "github.com/ipfs/go-ds-pebble"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

// Who is measured.
const (
	ours     = "ours"
	theirs   = "upstream"
	theLimit = "limit"
)

const (
	user     = "alice"
	password = "correct horse battery staple"
)

// heldPins are in flight for as long as a peer runs.
const heldPins = 20

// bench is one running peer with both APIs on it, and the bare handler.
type bench struct {
	peer  *clustertest.Peer
	limit *limit
	// urls are where each subject serves, by its name.
	urls   map[string]string
	client *client
	events *watch.Tracker
	// consensus is that of the peer, as its API gets it.
	consensus ipfscluster.Consensus

	seeding             time.Duration
	starting, iterating timed
	scanning            timed

	store *pebbleds.Datastore
	dir   string
	stops []func(context.Context) error
	// twin is a peer with the same pins, as ipfs-cluster-service runs it, for
	// upstream's API. Nil: there is none.
	twin *bench
}

// openBench starts a peer whose state has n pins, all of them on its IPFS
// node, with those subjects, and waits until they are ready.
func openBench(ctx context.Context, n int, subjects ...string) (b *bench, err error) {
	b = &bench{urls: make(map[string]string)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := b.seed(ctx, n); err != nil {
		return nil, err
	}
	if err := b.iterate(ctx, n); err != nil {
		return nil, err
	}
	token, err := auth.IssueToken(user, password, time.Now())
	if err != nil {
		return nil, err
	}
	b.client = newClient("Bearer " + token)
	node := clustertest.NewNode()
	node.Keep(cids(n))

	if err := b.reopen(); err != nil {
		return nil, err
	}
	release()
	forgetPeak()
	begin := now()
	apis, err := b.listen(ctx, subjects)
	if err != nil {
		return nil, err
	}
	opts := clustertest.Options{
		Node: node, Datastore: b.store, APIs: apis, OnTracker: func(events *watch.Tracker) { b.events = events },
		OnConsensus: func(consensus ipfscluster.Consensus) { b.consensus = consensus },
	}
	if slices.Contains(subjects, ours) {
		opts.Consensus = daemon.NewCRDT
	}
	if b.peer, err = clustertest.New(opts); err != nil {
		return nil, err
	}
	if err := b.awaitReady(ctx); err != nil {
		return nil, err
	}
	b.starting = begin.until()
	// Upstream's API responds before the peer can pin: this wait is not measured.
	return b, errors.Join(b.peer.Ready(ctx), b.peer.Members(ctx, 1))
}

// openTwin starts the peer of upstream's API.
func (b *bench) openTwin(ctx context.Context, n int) error {
	twin, err := openBench(ctx, n, theirs)
	if err != nil {
		return err
	}
	b.twin, b.urls[theirs] = twin, twin.urls[theirs]
	return twin.holdPins(ctx, theirs)
}

// sync is how long one small write takes until it is on the disk: the median of
// many to the peer's own store.
func (b *bench) sync(ctx context.Context) (time.Duration, error) {
	var took []time.Duration
	value := make([]byte, 512)
	for i := range syncs {
		key := datastore.NewKey(fmt.Sprintf("/bench/%d", i))
		begin := time.Now()
		if err := errors.Join(b.store.Put(ctx, key, value), b.store.Sync(ctx, key)); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
	}
	return quantile(took, 0.5), nil
}

const syncs = 200

// seed makes a datastore as the cluster's daemon does by default, with n pins
// in its state, and waits until it has no more to compact.
func (b *bench) seed(ctx context.Context, n int) (err error) {
	begin := time.Now()
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	if err := b.reopen(); err != nil {
		return err
	}
	if err := clustertest.Seed(ctx, b.store, n, func(i int) api.Pin { return record(n, i) }); err != nil {
		return err
	}
	b.seeding = time.Since(begin)
	if err := b.store.DB.Flush(); err != nil {
		return err
	}
	return poll(ctx, "the datastore has nothing to compact", func() error {
		if m := b.store.DB.Metrics(); m.Compact.NumInProgress > 0 {
			return fmt.Errorf("%d compactions", m.Compact.NumInProgress)
		}
		return nil
	})
}

// reopen opens the datastore, after closing it, so that none of it is in its cache.
func (b *bench) reopen() error {
	if b.store != nil {
		store := b.store
		b.store = nil
		if err := store.Close(); err != nil {
			return err
		}
	}
	cfg := &pebble.Config{}
	if err := cfg.Default(); err != nil {
		return err
	}
	// The datastore has a reference of its own.
	defer cfg.PebbleOptions.Cache.Unref()
	store, err := pebbleds.NewDatastore(b.dir, pebbleds.WithPebbleOpts(&cfg.PebbleOptions))
	if err != nil {
		return err
	}
	b.store = store
	return nil
}

// iterate measures how long it takes to read and decode all records, as the cluster's
// state lists them, by nobody else and for nobody, and to read all keys and values of the
// datastore once. That was just opened both times, as it is when a peer starts; the system
// may have its files in memory in all cases.
func (b *bench) iterate(ctx context.Context, n int) error {
	if err := b.reopen(); err != nil {
		return err
	}
	begin := now()
	if err := scan(ctx, b.store); err != nil {
		return fmt.Errorf("read all keys and values: %w", err)
	}
	b.scanning = begin.until()
	if err := b.reopen(); err != nil {
		return err
	}
	begin = now()
	if err := clustertest.Read(ctx, b.store, n); err != nil {
		return err
	}
	b.iterating = begin.until()
	return nil
}

func scan(ctx context.Context, store datastore.Datastore) (err error) {
	results, err := store.Query(ctx, query.Query{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	for result := range results.Next() {
		if result.Error != nil {
			return result.Error
		}
	}
	return nil
}

// listen makes the subjects, all with the same users.
func (b *bench) listen(ctx context.Context, subjects []string) (apis []ipfscluster.API, err error) {
	users := map[string]string{user: password}
	anyPort, err := multiaddr.NewMultiaddr("/ip4/127.0.0.1/tcp/0")
	if err != nil {
		return nil, err
	}
	for _, subject := range subjects {
		var api ipfscluster.API
		switch subject {
		case ours:
			api, err = b.listenOurs(ctx, users, anyPort)
		case theirs:
			api, err = b.listenTheirs(ctx, users, anyPort)
		case theLimit:
			err = b.listenLimit(users)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", subject, err)
		}
		if api != nil {
			apis = append(apis, api)
		}
	}
	return apis, nil
}

func (b *bench) listenOurs(ctx context.Context, users map[string]string, addr multiaddr.Multiaddr) (ipfscluster.API, error) {
	cfg := config.NewConfig()
	if err := cfg.Default(); err != nil {
		return nil, err
	}
	cfg.HTTPListenAddr = []multiaddr.Multiaddr{addr}
	cfg.BasicAuthCredentials = users
	// The daemon has metrics, so their cost counts.
	api, err := pinsvcapi.NewAPI(ctx, cfg, pinsvcapi.Options{
		Registerer: prometheus.NewRegistry(),
		NewBackend: func(client *rpc.Client) pinsvcapi.Backend {
			return clusterrpc.New(client, clusterrpc.Options{Events: b.events, Consensus: b.consensus, WaitsForCommit: true})
		},
	})
	if err != nil {
		return nil, err
	}
	b.stops = append(b.stops, api.Shutdown)
	b.urls[ours] = "http://" + api.HTTPAddresses()[0]
	return api, nil
}

func (b *bench) listenTheirs(ctx context.Context, users map[string]string, addr multiaddr.Multiaddr) (ipfscluster.API, error) {
	cfg := upstream.NewConfig()
	if err := cfg.Default(); err != nil {
		return nil, err
	}
	cfg.HTTPListenAddr = []multiaddr.Multiaddr{addr}
	cfg.BasicAuthCredentials = users
	api, err := upstream.NewAPI(ctx, cfg)
	if err != nil {
		return nil, err
	}
	b.stops = append(b.stops, api.Shutdown)
	addrs, err := api.HTTPAddresses()
	if err != nil {
		return nil, err
	}
	b.urls[theirs] = "http://" + addrs[0]
	return api, nil
}

func (b *bench) listenLimit(users map[string]string) (err error) {
	if b.limit, err = newLimit(users); err != nil {
		return err
	}
	b.stops = append(b.stops, b.limit.shutdown)
	b.urls[theLimit] = b.limit.url()
	return nil
}

// awaitReady waits until ours, if it is there, serves requests.
func (b *bench) awaitReady(ctx context.Context) error {
	if b.urls[ours] == "" {
		return nil
	}
	return poll(ctx, "ours is ready", func() error {
		return b.client.want(ctx, http.StatusOK, request{path: "/ready"}, b.urls[ours])
	})
}

// poll polls until there is no error, or ctx ends.
func poll(ctx context.Context, what string, check func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check()
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("it never comes that %s: %w", what, last)
		}
	}
}

// close stops everything, also what was only half begun.
func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if b.client != nil {
		b.client.close()
	}
	if b.peer != nil {
		b.peer.Close()
	}
	var errs []error
	if b.twin != nil {
		errs = append(errs, b.twin.close())
	}
	for _, stop := range b.stops {
		errs = append(errs, stop(ctx))
	}
	if b.store != nil {
		errs = append(errs, b.store.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}
