package pinsvc

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong in terms of the contract; the HTTP layer alone
// turns it into a status code (D8). The zero Kind hides its details from the
// client.
type Kind uint8

// The kinds of failure.
const (
	KindInternal             Kind = iota
	KindBadRequest                // 400 BAD_REQUEST
	KindUnauthorized              // 401 UNAUTHORIZED
	KindForbidden                 // 403 FORBIDDEN
	KindMissingScope              // 403 MISSING_SCOPE
	KindNotFound                  // 404 NOT_FOUND
	KindMethodNotAllowed          // 405 METHOD_NOT_ALLOWED
	KindInsufficientFunds         // 409 INSUFFICIENT_FUNDS
	KindPayloadTooLarge           // 413 PAYLOAD_TOO_LARGE
	KindUnsupportedMediaType      // 415 UNSUPPORTED_MEDIA_TYPE
	KindTooManyRequests           // 429 TOO_MANY_REQUESTS
	KindUnavailable               // 503 SERVICE_UNAVAILABLE
)

// Error is a failure that a client may be told of.
type Error struct {
	Kind Kind
	// Details is one sentence for the client's human; not sent for
	// KindInternal.
	Details string
	// RetryAfter is when to try again; zero lets the HTTP layer choose for
	// the kinds that need one.
	RetryAfter time.Duration
	// Err is the cause, for the log only.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Details
	case e.Details == "":
		return e.Err.Error()
	default:
		return fmt.Sprintf("%s: %v", e.Details, e.Err)
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of the given kind without a cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Details: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error of the given kind whose cause is err. The client reads
// the details, the log both.
func Wrap(kind Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Details: fmt.Sprintf(format, args...), Err: err}
}

// String is the reason that the client's program reads (D8). A value that is
// no Kind reads as KindInternal.
func (k Kind) String() string {
	switch k {
	case KindBadRequest:
		return "BAD_REQUEST"
	case KindUnauthorized:
		return "UNAUTHORIZED"
	case KindForbidden:
		return "FORBIDDEN"
	case KindMissingScope:
		return "MISSING_SCOPE"
	case KindNotFound:
		return "NOT_FOUND"
	case KindMethodNotAllowed:
		return "METHOD_NOT_ALLOWED"
	case KindInsufficientFunds:
		return "INSUFFICIENT_FUNDS"
	case KindPayloadTooLarge:
		return "PAYLOAD_TOO_LARGE"
	case KindUnsupportedMediaType:
		return "UNSUPPORTED_MEDIA_TYPE"
	case KindTooManyRequests:
		return "TOO_MANY_REQUESTS"
	case KindUnavailable:
		return "SERVICE_UNAVAILABLE"
	default:
		return "INTERNAL_SERVER_ERROR"
	}
}

// KindOf is the kind of the first *Error in the chain of err. Errors without
// one are internal: nobody decided that a client may read them.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Failure is the spec's Failure object, the body of every error answer:
// {"error":{"reason":"…","details":"…"}}.
type Failure struct {
	// Reason is for programs, never empty: the String of a Kind.
	Reason string
	// Details is a sentence for humans; left out when empty.
	Details string
}

// FailureOf is what a client is told of err: the reason of its kind, and its
// details unless the kind is KindInternal. Causes are not told.
func FailureOf(err error) Failure {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind.String() == KindInternal.String() {
		return Failure{Reason: KindInternal.String()}
	}
	return Failure{Reason: e.Kind.String(), Details: e.Details}
}
