package pinsvc

import (
	"errors"
	"fmt"
	"time"
)

// Kind classifies a failure in terms of the contract. Only the HTTP layer turns
// it into a status code (D8). The details of the zero Kind are not sent to the
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

// Error is a failure whose details may be sent to the client.
type Error struct {
	Kind Kind
	// Details is one sentence for the user; not sent for KindInternal.
	Details string
	// RetryAfter is the time after which the client should try again; with
	// zero the HTTP layer chooses one for the kinds that need it.
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

// Wrap makes an Error of the given kind whose cause is err. The details are sent
// to the client; both are logged.
func Wrap(kind Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Details: fmt.Sprintf(format, args...), Err: err}
}

// String is the reason in the response, for programs (D8). A value that is no
// Kind has the reason of KindInternal.
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
// one are internal: their text is not meant for clients.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Failure is the spec's Failure object, the body of every error response:
// {"error":{"reason":"…","details":"…"}}.
type Failure struct {
	// Reason is for programs, never empty: the String of a Kind.
	Reason string
	// Details is a sentence for the user; left out when empty.
	Details string
}

// FailureOf is the body for err: the reason of its kind, and its details unless
// the kind is KindInternal. Causes are left out.
func FailureOf(err error) Failure {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind.String() == KindInternal.String() {
		return Failure{Reason: KindInternal.String()}
	}
	return Failure{Reason: e.Kind.String(), Details: e.Details}
}
