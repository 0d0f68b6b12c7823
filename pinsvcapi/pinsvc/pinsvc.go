// Package pinsvc is the contract of the IPFS Pinning Service API v1.0.0
// (https://ipfs.github.io/pinning-services-api-spec/): its objects, the parser
// of its queries, the decoder of its bodies, the kinds of its failures and the
// interface of its backends. It opens no socket, reads no clock and writes no
// log.
//
// ParseQuery and Decoder return validated values, which handlers need not
// check again.
package pinsvc

import (
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

// User is the name of the caller in the configuration. The zero User is the
// caller of a service without credentials.
type User string

// Pin is the spec's Pin object: the request of a client.
type Pin struct {
	CID cid.Cid
	// Name is at most 255 Unicode code points; empty when absent.
	Name string
	// Origins are at most 20 addresses of providers, nil when absent.
	Origins []multiaddr.Multiaddr
	// Meta are the pairs of the client, nil when absent. They are read-only.
	Meta map[string]string
}

// PinStatus is the spec's PinStatus object: a Pin and its status.
type PinStatus struct {
	// RequestID is the CID in the text form of the cluster's state key (D1).
	RequestID string
	Status    Status
	// Created is in UTC with millisecond precision and never changes while
	// the pin exists (D2).
	Created time.Time
	Pin     Pin
	// RawOrigins are Pin.Origins in their JSON form if the backend has it at
	// hand, otherwise empty: rendering addresses takes longer than the rest of
	// a response.
	RawOrigins RawJSON
	// Delegates are 1 to 20 multiaddresses that end in /p2p/<id>.
	Delegates []string
	// Info is nil when nothing is known.
	Info map[string]string
}

// PinResults is one page of a list as its readers see it, newest pins first.
// Backends return a Page.
type PinResults struct {
	// Count is the number of pins that pass every filter, Before and After
	// included.
	Count   int
	Results []PinStatus
}
