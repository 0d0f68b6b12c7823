package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
)

// reloader applies the section api.pinsvcapi again, as it is now in the file
// and the environment.
type reloader struct {
	// load reads and validates the section; apply puts it into effect.
	load  func(context.Context) (*config.Config, error)
	apply func(*config.Config) error

	initial snapshot // The state of the files that is in effect at the start.

	mu      sync.Mutex // One reload at a time; guards the fields below.
	paths   watchedPaths
	failure string // The text of the last failure, "" after a success.
}

// Reload reads service.json, the environment and the files that they name
// again, and applies the users, the certificate and the access log of the
// Pinning Service API without a restart. If the configuration is invalid,
// nothing changes. Of users, certificate and log file, those that cannot be
// applied stay, and the others change. The error names the file and the key. It may
// be called at any time after New; the peer calls it itself when one of the files
// changes.
func (p *Peer) Reload() error {
	if p.reloader == nil {
		return errors.New("reloading: the peer serves no Pinning Service API")
	}
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	go func() {
		select {
		case <-p.done: // A stop does not wait for a reload.
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := p.reloader.reload(ctx, onRequest); err != nil {
		return fmt.Errorf("reloading: %w", err)
	}
	return nil
}

// newReloader is called when the API was built from the configuration.
func (p *Peer) newReloader() *reloader {
	paths := watchedPathsOf(p.cfg.Files, p.cfg.Pinsvcapi)
	initial := p.cfg.files
	initial.log = stat(paths.log) // The API has opened it.
	return &reloader{load: p.loadPinsvcapi, apply: p.apis.pinsvc.Reload, initial: initial, paths: paths}
}

// loadPinsvcapi loads the whole configuration as a start does: a file that the
// next start would refuse is not applied.
//
// The wait ends with the context: upstream reads a configuration whose source is a
// URL without a time limit.
func (p *Peer) loadPinsvcapi(ctx context.Context) (*config.Config, error) {
	c := NewConfiguration(p.cfg.Files, "", "")
	loaded := make(chan error, 1)
	go func() {
		loaded <- c.Load()
		c.Close() // Takes up to a second, and there is nothing to save.
	}()
	select {
	case err := <-loaded:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: reading the configuration: %w", p.cfg.Files.Config, ctx.Err())
	}
	if !c.HasPinsvcapi() {
		return nil, fmt.Errorf("%s: api.pinsvcapi is missing", p.cfg.Files.Config)
	}
	c.Pinsvcapi.Tracing = p.cfg.Pinsvcapi.Tracing
	return c.Pinsvcapi, nil
}

// loadTimeout bounds the reading of a configuration.
const loadTimeout = 30 * time.Second

// trigger is why a reload takes place.
type trigger int

const (
	onChange  trigger = iota // A watched file has changed.
	onRequest                // The operator sent a signal.
)

func (r *reloader) reload(ctx context.Context, why trigger) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	cfg, err := r.load(ctx)
	partly := err == nil
	if err == nil {
		// Also after a failure of apply: the paths are those of the new section.
		r.paths = r.paths.with(cfg)
		err = r.apply(cfg)
	}
	r.log(err, partly, why)
	return err
}

// log logs the result of a reload. The same failure of changed files is logged
// once; an operator who requests a reload gets a result each time. partly: what
// has no fault was applied.
func (r *reloader) log(err error, partly bool, why trigger) {
	switch {
	case err == nil:
		logger.Info("reloaded users, certificate and access log of api.pinsvcapi")
		r.failure = ""
	case why == onRequest || err.Error() != r.failure:
		stays := "nothing was reloaded"
		if partly {
			stays = "what it names stays as it was, the rest was reloaded"
		}
		logger.Errorf("reloading api.pinsvcapi failed, %s: %s", stays, err)
		r.failure = err.Error()
	}
}

// watched returns the paths to watch.
func (r *reloader) watched() watchedPaths {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paths
}
