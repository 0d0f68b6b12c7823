package peer

import (
	"errors"

	ma "github.com/multiformats/go-multiaddr"
)

// Options are what New needs.
type Options struct {
	// Configuration is required. New loads it, once it has the lock, unless
	// that was done before. It stays the caller's to close, after Stop.
	Configuration *Configuration
	// Bootstraps are peers of a cluster to join, tried until it worked. With
	// Raft the peer's own state is backed up and removed first. With CRDT
	// these peers become trusted ones, unless NoTrust is set.
	Bootstraps []ma.Multiaddr
	// NoTrust does not trust the Bootstraps (CRDT).
	NoTrust bool
	// Leave removes the peer from the cluster when it stops, in addition to
	// cluster.leave_on_shutdown.
	Leave bool
	// Stats and Tracing switch these on, in addition to what the section
	// observations says.
	Stats, Tracing bool
	// Progress is told what the peer is at, while it starts at least every
	// two seconds. One call at a time; it must not block nor call the peer.
	// Nil: nobody is told.
	Progress func(Event)
	// Version is the program's, for the log and the API. "" leaves it out.
	Version string
}

func (o Options) validate() error {
	if o.Configuration == nil {
		return errors.New("peer: Options.Configuration is missing")
	}
	for _, addr := range o.Bootstraps {
		if addr == nil {
			return errors.New("peer: Options.Bootstraps has an empty address")
		}
	}
	return nil
}
