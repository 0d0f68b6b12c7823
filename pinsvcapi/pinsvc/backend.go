package pinsvc

import "context"

// Backend is all that the HTTP component needs from a cluster. Its methods may
// be called by many goroutines at once. They honour the context, return errors
// of type *Error (every other error is an internal one) and leave nothing half
// done when they fail. Package pinsvctest tests a Backend against this contract.
//
// A user sees and changes only what the tenancy allows; everything else is
// KindNotFound. While IPFS or the state is unreachable, methods that need them
// fail with KindUnavailable.
type Backend interface {
	// List returns one page of the pins that match q (D3, D4, D5).
	List(ctx context.Context, user User, q Query) (Page, error)
	// Add pins. A CID that is already held, under either of its forms (D1),
	// keeps its request ID and creation time; name, meta and origins become
	// the request's.
	Add(ctx context.Context, user User, pin Pin) (PinStatus, error)
	// Get returns the pin with that request ID, or KindNotFound for
	// anything that is unknown, a CID or not. While the state is unreachable it
	// may return the pin as it was known last, but not that it has failed.
	Get(ctx context.Context, user User, requestID string) (PinStatus, error)
	// Replace puts pin in place of the pin with that request ID (D6), which is gone at
	// once. The content of that is kept until the new pin is pinned. With KindNotFound
	// nothing was pinned.
	Replace(ctx context.Context, user User, requestID string, pin Pin) (PinStatus, error)
	// Delete gives up the pin, and what is kept for it, or fails with KindNotFound.
	Delete(ctx context.Context, user User, requestID string) error
	// Ready returns nil once requests can be served, else a KindUnavailable
	// error whose details name what is missing. It is called for every
	// request and must not block.
	Ready() error
	// Health returns nil while everything that the backend depends on is
	// reachable, the IPFS node included, else an error that names what is
	// not. It must not block.
	Health() error
	// Close stops the background work of the backend and waits for its end.
	Close()
}
