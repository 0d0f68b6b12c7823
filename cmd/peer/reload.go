package peer

import (
	"errors"
	"fmt"
	"sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
)

// reloader applies the section api.pinsvcapi again, as it is now in the file
// and the environment.
type reloader struct {
	// load reads and validates the section; apply puts it into effect.
	load  func() (*config.Config, error)
	apply func(*config.Config) error

	initial snapshot // The state of the files that is in effect at the start.

	mu      sync.Mutex // One reload at a time; guards the fields below.
	paths   watchedPaths
	failure string // The text of the last failure, "" after a success.
}

// Reload reads service.json, the environment and the files that they name
// again, and applies the users, the certificate and the access log of the
// Pinning Service API without a restart. If anything is invalid, nothing
// changes, and the error names the file and the key. It may be called at any
// time after New; the peer calls it itself when one of the files changes.
func (p *Peer) Reload() error {
	if p.reloader == nil {
		return errors.New("reloading: the peer serves no Pinning Service API")
	}
	err := p.reloader.reload()
	if err != nil {
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
func (p *Peer) loadPinsvcapi() (*config.Config, error) {
	c := NewConfiguration(p.cfg.Files, "", "")
	go c.Close() // Takes up to a second, and there is nothing to save.
	if err := c.Load(); err != nil {
		return nil, err
	}
	if !c.HasPinsvcapi() {
		return nil, fmt.Errorf("%s: api.pinsvcapi is missing", p.cfg.Files.Config)
	}
	c.Pinsvcapi.Tracing = p.cfg.Pinsvcapi.Tracing
	return c.Pinsvcapi, nil
}

func (r *reloader) reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg, err := r.load()
	if err == nil {
		// Also after a failure of apply: the paths are those of the new section.
		r.paths = r.paths.with(cfg)
		err = r.apply(cfg)
	}
	r.log(err)
	return err
}

// log logs a failure once, until another one or a success.
func (r *reloader) log(err error) {
	switch {
	case err == nil:
		logger.Info("reloaded users, certificate and access log of api.pinsvcapi")
		r.failure = ""
	case err.Error() != r.failure:
		logger.Errorf("reloading api.pinsvcapi failed, the previous users and certificate stay in use: %s", err)
		r.failure = err.Error()
	}
}

// watched returns the paths to watch.
func (r *reloader) watched() watchedPaths {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paths
}
