package pinsvcapi

import (
	"net/http"
	"time"
)

// policy is how requests to an endpoint are treated before its handler runs.
type policy struct {
	// scope is what a token will have to grant. Nothing enforces it yet: all
	// tokens grant everything.
	scope scope
	// cost is the weight of one request in a rate limit. Nothing spends it
	// yet: only failed logins are limited.
	cost int
	// credentials: the caller has to log in, if there are users.
	credentials bool
	readiness   readiness
	body        bodyPolicy
	// prepare, when not nil, takes what the handler needs before the request takes its slot.
	prepare func(*API, *request, *http.Request) error
	// streams: the handler may return a streaming response.
	streams bool
}

// scope names a group of operations.
type scope string

// The scopes.
const (
	scopeNone        scope = "none" // open to everybody
	scopePinsRead    scope = "pins:read"
	scopePinsWrite   scope = "pins:write"
	scopePinsDelete  scope = "pins:delete"
	scopeTokensWrite scope = "tokens:write"
)

// The costs.
const (
	costNone   = 0  // touches no pin
	costMemory = 1  // is served from memory
	costWrite  = 10 // writes the shared state, on every peer
)

// readiness is what an endpoint needs of the backend.
type readiness int

const (
	// needReady: 503 while the peer is not ready.
	needReady readiness = iota
	// waitReady: as needReady, after waiting for a moment.
	waitReady
	// anyTime: served even before the peer has a backend.
	anyTime
)

// bodyPolicy is what an endpoint accepts as the body of a request.
type bodyPolicy struct {
	// accepted: the handler reads a body, so its size, type and coding are
	// checked first.
	accepted bool
	// types are the media types; nil means JSON.
	types []string
	// forms: application/x-www-form-urlencoded is accepted too, if the request
	// has a header that no page can send to another site without a preflight.
	forms bool
	// maxBytes is the size limit; zero means max_body_bytes.
	maxBytes int64
	// readTimeout is the time limit; zero means body_read_timeout.
	readTimeout time.Duration
}

// pinBody is a JSON object. curl -d sends it as a form.
func pinBody() bodyPolicy { return bodyPolicy{accepted: true, forms: true} }

// noBody is for POST requests whose body, if there is one, is not used.
func noBody() bodyPolicy { return bodyPolicy{accepted: true} }
