// Package pinsvctest tests backends: RunBackendTests is the contract of
// pinsvc.Backend as tests, and Fake is a backend in memory that passes them and
// on which the tests of the HTTP layer run.
//
// It must not be imported outside tests. It does not import pinsvcapi, so that
// the tests of that package and of its backends can use it.
package pinsvctest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Harness is one new, empty, ready backend and the means by which the suite
// changes the cluster behind it. Every function returns only when the backend can
// know of the change. All fields are required.
type Harness struct {
	// Backend is the one under test. The harness closes it, in a t.Cleanup.
	Backend pinsvc.Backend
	// SetStatus makes every peer that should hold the pin report this
	// status, in the case of StatusFailed for good and for some reason.
	SetStatus func(t testing.TB, requestID string, status pinsvc.Status)
	// PinElsewhere puts pins into the cluster's state by other means than
	// this backend, all of them created at that moment (whole milliseconds).
	PinElsewhere func(t testing.TB, created time.Time, pins ...pinsvc.Pin)
	// Keeps reports whether the cluster has the content of a CID pinned, or is to pin
	// it, for whatever pin.
	Keeps func(t testing.TB, c cid.Cid) bool
	// Cut makes the cluster's state unreachable until restore is called.
	Cut func(t testing.TB) (restore func())
}

// RawCID is the n-th of a series of distinct CIDs, a CIDv1 of raw leaves.
func RawCID(n int) cid.Cid { return cid.NewCidV1(cid.Raw, digest(n)) }

// V0CID is the n-th of a series of distinct CIDs of version 0.
func V0CID(n int) cid.Cid { return cid.NewCidV0(digest(n)) }

// V1CID is the version 1 form of V0CID(n): another CID for the same content.
func V1CID(n int) cid.Cid { return cid.NewCidV1(cid.DagProtobuf, digest(n)) }

func digest(n int) multihash.Multihash {
	sum, err := multihash.Sum(fmt.Appendf(nil, "pinsvctest %d", n), multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // SHA2-256 of a short text cannot fail.
	}
	return sum
}

// Results converts a page; its parameters are the results of Backend.List.
func Results(page pinsvc.Page, err error) (pinsvc.PinResults, error) {
	if err != nil {
		return pinsvc.PinResults{}, err
	}
	return page.PinResults()
}
