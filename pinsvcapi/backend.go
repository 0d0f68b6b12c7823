package pinsvcapi

import (
	"context"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Backend is all that the component needs from a cluster. Methods may be
// called by many goroutines at once. They honour the context, answer with
// failures of type *pinsvc.Error (anything else is an internal error) and
// leave nothing half done when they fail.
//
// A user sees and changes only what tenancy lets them; what they may not see
// is KindNotFound. While IPFS or the state cannot be reached, methods that
// need them fail with KindUnavailable.
type Backend interface {
	// List returns one page of the pins that match q (D3, D4, D5).
	List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error)
	// Add pins. A CID that is already held, under either of its forms (D1),
	// keeps its request ID and creation time; name, meta and origins become
	// the request's.
	Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error)
	// Get returns the pin with that request ID, or KindNotFound for
	// anything that is unknown, a CID or not.
	Get(ctx context.Context, user pinsvc.User, requestID string) (pinsvc.PinStatus, error)
	// Replace puts pin in the place of requestID (D6). With KindNotFound
	// nothing was pinned.
	Replace(ctx context.Context, user pinsvc.User, requestID string, pin pinsvc.Pin) (pinsvc.PinStatus, error)
	// Delete gives up the pin, or fails with KindNotFound.
	Delete(ctx context.Context, user pinsvc.User, requestID string) error
	// Ready returns nil once requests can be served, else a KindUnavailable
	// error whose details say what is missing. It is asked for every request
	// and answers from memory.
	Ready() error
	// Health returns nil while all that the backend depends on is there, the
	// IPFS node included, else an error that says what is away. It answers
	// from memory.
	Health() error
	// Close ends what the backend runs in the background and waits for it.
	Close()
}
