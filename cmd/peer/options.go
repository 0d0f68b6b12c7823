package peer

import (
	"errors"
	"time"

	ma "github.com/multiformats/go-multiaddr"
)

// Options are what New needs.
type Options struct {
	// Configuration is required. New loads it under the lock unless it is
	// loaded. The caller closes it after Stop.
	Configuration *Configuration
	// Bootstraps are peers of a cluster to join; joining is retried until it
	// succeeds. With Raft the peer's own state is backed up and removed first.
	// With CRDT these peers become trusted ones, unless NoTrust is set.
	Bootstraps []ma.Multiaddr
	// NoTrust does not trust the Bootstraps (CRDT).
	NoTrust bool
	// Leave removes the peer from the cluster when it stops, in addition to
	// cluster.leave_on_shutdown.
	Leave bool
	// Stats and Tracing enable these, in addition to the section observations.
	Stats, Tracing bool
	// OwnsProcess says that the process has no other user of OpenCensus' traces: without
	// tracing its spans are switched off, which cost every call of the cluster something.
	OwnsProcess bool
	// Progress is called with each stage of the start and the stop, and at
	// least every two seconds during the start. It is called by one goroutine
	// at a time and must neither block nor call the peer. It may be nil.
	Progress func(Event)
	// Version is the program's, for the log and the API. "" leaves it out.
	Version string
	// PinsetInterval is the time between two digests of the pinset that the peer
	// publishes and compares with those of the others; 0: 15 seconds.
	PinsetInterval time.Duration
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
