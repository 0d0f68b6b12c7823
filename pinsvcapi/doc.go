// Package pinsvcapi is an IPFS Cluster API component that serves the IPFS
// Pinning Service API v1.0.0 (https://ipfs.github.io/pinning-services-api-spec/):
// its listeners, routes, tokens, health, and the rendering of responses and
// failures. What it serves comes from a Backend; openapi.yaml describes all of
// it and is served at /openapi.yaml.
//
// # Lifecycle
//
// NewAPI validates the configuration, binds every listener and begins to
// serve. Until SetClient has connected it to the cluster and the backend is
// ready, every route but /health, / and /webui responds with 503. Reload
// applies other users, certificates and another log file. Shutdown drains and
// closes.
//
// # Order of the middleware
//
// A request passes these from the top; a request that one refuses has passed
// all above it.
//
//  1. identify: the request ID (X-Request-Id), the client's address behind
//     trusted proxies, the route, the time limit of the body.
//  2. observe: one event per request, for the access log and the metrics,
//     whatever became of it.
//  3. recoverPanic: a panic becomes a 500 with the request ID and nothing else.
//  4. traceSpan, when tracing is on.
//  5. crossOrigin (CORS): above authentication, so that a page can read why it
//     was refused. Preflight requests end here.
//  6. customHeaders: the configuration's, on every response but preflights.
//
// Then dispatch applies the policy of the endpoint (see policy) and calls its
// handler:
//
//  7. Host header: 403 for foreign ones while there are no users.
//  8. authentication, save for open endpoints and OPTIONS: 401, or 429 after
//     many failed logins.
//  9. route: 404, or 405 with Allow.
//  10. readiness: 503 with Retry-After.
//  11. body: 413 and 415. It is read into memory here.
//  12. admission: 503 when too much is worked on at once.
//
// Checks and handlers return their failure, and dispatch alone sends it.
package pinsvcapi
