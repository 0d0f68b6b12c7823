// Package pinsvc is the contract of the IPFS Pinning Service API v1.0.0
// (https://ipfs.github.io/pinning-services-api-spec/): its objects, the parser
// of its queries, the decoder of its bodies and the kinds of its failures. It
// opens no socket, reads no clock and writes no log.
//
// Everything it hands out has been validated: a handler that got a Query or a
// Pin from here need not check it again.
package pinsvc

import (
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

// User is the name of the caller as the configuration knows it. The zero User
// is the caller of a service without credentials.
type User string

// Pin is the spec's Pin object: what a client asks to be kept.
type Pin struct {
	CID cid.Cid
	// Name is at most 255 Unicode code points; empty when absent.
	Name string
	// Origins are at most 20 addresses of providers, nil when absent.
	Origins []multiaddr.Multiaddr
	// Meta are the caller's own pairs, nil when absent. Treat as read-only.
	Meta map[string]string
}

// PinStatus is the spec's PinStatus object: a Pin and what became of it.
type PinStatus struct {
	// RequestID is the CID in the text form of the cluster's state key (D1).
	RequestID string
	Status    Status
	// Created is in UTC with millisecond precision and never changes while
	// the pin exists (D2).
	Created time.Time
	Pin     Pin
	// Delegates are 1 to 20 multiaddresses that end in /p2p/<id>.
	Delegates []string
	// Info is nil when nothing is known.
	Info map[string]string
}

// PinResults is one page: the newest matches first, and the number of all of
// them.
type PinResults struct {
	// Count is the number of pins that match every filter, Before and After
	// included.
	Count   int
	Results []PinStatus
}
